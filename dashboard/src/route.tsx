// Everything about one route.

import type { JSX } from 'preact'
import type { Route, RouteDetail } from './api'
import { bytes, count, ms, rate, seconds, share, time } from './format'
import { useLive } from './live'
import { Fact, Failures, Mark, Problems, Section, Spark, Waiting } from './parts'
import { Tap } from './tap'
import { useData } from './use'

/** A URL that a route may answer. A request without a host is one of those that `*` is for. */
function example({ host, path, tls }: Route): string {
  return host === '*' ? (path ?? '/') : `${tls ? 'https' : 'http'}://${host.replace('*', 'any')}${path ?? '/'}`
}

function Settings({ of }: { of: Record<string, string> }): JSX.Element | null {
  const all = Object.entries(of)
  if (all.length === 0) return null
  return (
    <dl class="facts">
      {all.map(([name, value]) => <Fact key={name} name={name}><code>{value}</code></Fact>)}
    </dl>
  )
}

export function RoutePage({ id }: { id: string }): JSX.Element {
  const live = useLive()
  const loaded = useData<RouteDetail>(`routes/${encodeURIComponent(id)}`, 2000, live.changes)
  const route = loaded.data
  if (!route) return <Waiting of={loaded} />
  const traffic = { ...route.traffic, ...(live.last?.routes[route.id] ?? {}) }
  const url = example(route)
  const steps = route.steps ?? []
  const settings = { ...route.policies, ...route.settings, ...(steps.length > 0 ? { steps: steps.join(', ') } : {}) }
  const refusals = Object.fromEntries(Object.entries(route.refusals ?? {}).map(([reason, count]) => [reason, String(count)]))
  return (
    <>
      <div class="bar">
        <h1><Mark status={route.status} /> {route.host}<span class="path">{route.path ?? ''}</span></h1>
        <a class="button" href={`#/why?${new URLSearchParams({ url })}`}>Why do requests go here?</a>
      </div>
      <div class="grid">
        <Section title="Definition">
          <dl class="facts">
            <Fact name="Object">{route.object}</Fact>
            <Fact name="Field"><code>{route.field}</code></Fact>
            <Fact name="Path">{route.path_type ?? 'default backend'} {route.path}</Fact>
            <Fact name="Goes to">{route.backend} {route.state !== 'ready' && <span class="tag error">{route.state.replaceAll('_', ' ')}</span>}</Fact>
            {route.guard && <Fact name="Closed by"><span class="bad">{route.guard}, which narthex does not enforce: requests get 503</span></Fact>}
            <Fact name="TLS">{route.tls ? (route.certificate ?? 'yes') : 'no'}</Fact>
            {route.shadows.length > 0 && <Fact name="Takes precedence over">{route.shadows.join(', ')}, because the oldest object wins</Fact>}
          </dl>
        </Section>
        <Section title="Traffic" note="last minute">
          <Spark values={route.traffic.spark} />
          <dl class="facts">
            <Fact name="Requests">{rate(traffic.rate)}/s, {count(route.traffic.requests)} in total, {route.traffic.in_flight} in flight</Fact>
            <Fact name="Errors">{share(traffic.error_share)}</Fact>
            <Fact name="Time">p50 {ms(traffic.p50_ms)}, p99 {ms(traffic.p99_ms)}</Fact>
            <Fact name="Bytes">{bytes(route.traffic.bytes_in)} in, {bytes(route.traffic.bytes_out)} out</Fact>
            <Fact name="Statuses">{Object.entries(route.traffic.codes).filter(([, n]) => n > 0).map(([code, n]) => `${code}: ${count(n)}`).join(', ') || 'none yet'}</Fact>
          </dl>
        </Section>
      </div>
      {route.diagnostics.length > 0 && <Section title="Problems"><Problems problems={route.diagnostics} /></Section>}
      <Section title="Pods" note={`${route.endpoints.length}`}>
        {route.endpoints.length === 0 ? <p class="bad">No pods: requests get 503.</p> : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Pods">
            <table>
              <thead>
                <tr>
                  <th scope="col">Pod</th><th scope="col">Address</th><th scope="col" class="right">Requests/s</th>
                  <th scope="col" class="right">Requests</th><th scope="col" class="right">Failures</th>
                  <th scope="col" class="right">In flight</th><th scope="col">Health</th>
                </tr>
              </thead>
              <tbody>
                {route.endpoints.map((one) => (
                  <tr key={one.address}>
                    <td>{one.pod ?? '–'}</td>
                    <td class="num">{one.address}</td>
                    <td class="num right">{rate(one.rate)}</td>
                    <td class="num right">{count(one.requests)}</td>
                    <td class={`num right${one.failures ? ' bad' : ''}`}>{count(one.failures)}</td>
                    <td class="num right">{one.in_flight}</td>
                    <td>
                      {one.set_aside ? <span class="bad">ejected for {seconds(one.set_aside.seconds)}: {one.set_aside.why}</span>
                        : one.failing_since ? <span class="bad">fails since {time(one.failing_since)}: {one.last_failure?.what}</span>
                        : one.terminating ? 'terminating' : (one.check ?? 'OK')}
                      {one.zone && <span class="faint"> {one.zone}</span>}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Section>
      {Object.keys(settings).length > 0 && <Section title="Policies"><Settings of={settings} /></Section>}
      {Object.keys(refusals).length > 0 && <Section title="Refused requests, by reason"><Settings of={refusals} /></Section>}
      <Tap key={route.id} route={route.id} />
      <Section title="Recent errors"><Failures failures={route.recent_errors} /></Section>
      <Section title="Source" note={route.source.location ?? ''}>
        {route.source.yaml ? <pre tabIndex={0} aria-label="YAML">{route.source.yaml}</pre> : <p>{route.source.reason ?? 'The source is not known.'}</p>}
      </Section>
    </>
  )
}
