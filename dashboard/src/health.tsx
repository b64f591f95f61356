// How this narthex is, or all of them: what the page of Traefik 1.7 called Health, and what it did not have.

import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { Failure, Nodes, Overview } from './api'
import { Chart } from './chart'
import { bytes, count, moment, ms, rate, seconds, share } from './format'
import { useLive } from './live'
import { Fact, Failures, Section, Waiting } from './parts'
import { useData } from './use'

const CODES: [string, string][] = [['2xx', '--good'], ['3xx', '--accent'], ['4xx', '--warn'], ['5xx', '--bad']]

function Node({ of }: { of: Overview }): JSX.Element {
  return (
    <>
      <div class="grid">
        <Section title={of.pod} note={`narthex ${of.version}`}>
          <dl class="facts">
            <Fact name="State">{of.ready ? 'ready' : <span class="bad">not ready</span>}, up for {seconds(of.uptime_seconds)}</Fact>
            <Fact name="Started"><span title={of.started}>{moment(of.started)}</span></Fact>
            <Fact name="Traffic">{rate(of.traffic.rate)}/s, {share(of.traffic.error_share)} errors, p99 {ms(of.traffic.p99_ms)}</Fact>
            <Fact name="Requests">{count(of.traffic.requests)}, {of.traffic.in_flight} in flight</Fact>
            <Fact name="Memory">{bytes(of.memory_bytes)}</Fact>
          </dl>
        </Section>
        <Section title="Routing table" note={`generation ${of.generation}`}>
          <dl class="facts">
            {Object.entries(of.counts).map(([name, value]) => <Fact key={name} name={name}>{count(value)}</Fact>)}
            <Fact name="connections">{count(of.connections)} <span class="faint">by shard: {of.connections_by_shard.join(', ')}</span></Fact>
          </dl>
        </Section>
      </div>
      <Section title="Sources">
        <dl class="facts wide-facts">
          {of.watches.map((one) => (
            <Fact key={one.name} name={one.name}>
              <span class={one.state.startsWith('failing') ? 'bad' : ''}>{one.state}</span>
              {one.silent_seconds !== null && <span class="faint">, last event {seconds(one.silent_seconds)} ago</span>}
              {!one.required && <span class="faint"> (optional)</span>}
            </Fact>
          ))}
        </dl>
      </Section>
    </>
  )
}

function All(): JSX.Element {
  const loaded = useData<Nodes<Overview>>('overview?scope=cluster', 4000)
  if (!loaded.data) return <Waiting of={loaded} />
  return (
    <div class="card scroll" tabIndex={0} role="region" aria-label="All nodes">
      <table>
        <thead>
          <tr>
            <th scope="col">Pod</th><th scope="col">Address</th><th scope="col">State</th><th scope="col">Version</th><th scope="col" class="right">Requests/s</th>
            <th scope="col" class="right">Errors</th><th scope="col" class="right">p99</th><th scope="col" class="right">Routes</th><th scope="col" class="right">Memory</th>
          </tr>
        </thead>
        <tbody>
          {loaded.data.nodes.map((one) => (
            <tr key={one.address + one.pod}>
              <td>{one.pod ?? '–'}</td>
              <td class="num">{one.address}</td>
              {one.answer ? (
                <>
                  <td>{one.answer.ready ? 'ready' : <span class="bad">not ready</span>}</td>
                  <td>{one.answer.version}</td>
                  <td class="num right">{rate(one.answer.traffic.rate)}</td>
                  <td class="num right">{share(one.answer.traffic.error_share)}</td>
                  <td class="num right">{ms(one.answer.traffic.p99_ms)}</td>
                  <td class="num right">{count(one.answer.counts['routes'] ?? 0)}</td>
                  <td class="num right">{bytes(one.answer.memory_bytes)}</td>
                </>
              ) : <td colSpan={7} class="bad">{one.silent ? 'no answer' : 'error'}: {one.error}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

export function Health({ dark }: { dark: boolean }): JSX.Element {
  const live = useLive()
  const [all, setAll] = useState(false)
  const overview = useData<Overview>('overview', 2000)
  const errors = useData<Failure[]>('errors', 4000)
  const config = useData<Record<string, unknown>>('config', 0)
  const times = live.ticks.map((tick) => Date.parse(tick.at) / 1000)
  return (
    <>
      <div class="bar">
        <h1>Health</h1>
        <div class="switch" role="group" aria-label="Which narthex">
          <button type="button" aria-pressed={!all} onClick={() => setAll(false)}>this node</button>
          <button type="button" aria-pressed={all} onClick={() => setAll(true)}>all nodes</button>
        </div>
      </div>
      {all ? <All /> : overview.data ? <Node of={overview.data} /> : <Waiting of={overview} />}
      <div class="grid">
        <Chart
          title="Response time" unit=" ms" times={times} dark={dark}
          lines={[{ label: 'p50', color: '--accent', values: live.ticks.map((tick) => tick.p50_ms) }, { label: 'p99', color: '--warn', values: live.ticks.map((tick) => tick.p99_ms) }]}
        />
        <Chart
          title="Responses per second" unit="" times={times} dark={dark}
          lines={CODES.map(([label, color]) => ({ label, color, values: live.ticks.map((tick) => tick.codes[label] ?? 0) }))}
        />
      </div>
      <Section title="Recent errors">{errors.data ? <Failures failures={errors.data} /> : <p class="faint">Loading…</p>}</Section>
      <Section title="Configuration" note="in effect, without secrets">
        <details><summary>Show all flags</summary><pre tabIndex={0} aria-label="Configuration">{JSON.stringify(config.data, null, 2)}</pre></details>
      </Section>
    </>
  )
}
