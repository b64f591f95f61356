// Problems, certificates and changes.

import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { Certificate, Change, Page, Problem } from './api'
import { ago, count, moment, ms, time } from './format'
import { useLive } from './live'
import { Mark, Problems, Waiting } from './parts'
import { useData } from './use'

const MOST = 1000

export function ProblemsPage(): JSX.Element {
  const live = useLive()
  const [severity, setSeverity] = useState('')
  const loaded = useData<Page<Problem>>(`diagnostics?per_page=${MOST}&page=1`, 5000, live.changes)
  if (!loaded.data) return <><div class="bar"><h1>Problems</h1></div><Waiting of={loaded} /></>
  const shown = loaded.data.items.filter((one) => !severity || one.severity === severity)
  const objects = new Map<string, Problem[]>()
  for (const one of shown) objects.set(one.object ?? 'Files', [...(objects.get(one.object ?? 'Files') ?? []), one])
  return (
    <>
      <div class="bar">
        <h1>Problems</h1>
        <select aria-label="Show" value={severity} onChange={(event) => setSeverity(event.currentTarget.value)}>
          <option value="">all</option>
          <option value="error">errors</option>
          <option value="warning">warnings</option>
          <option value="info">notes</option>
        </select>
        <span class="num faint" role="status">{count(loaded.data.total)} in total</span>
      </div>
      {shown.length === 0 && <div class="card state"><h2>No problems</h2><p class="faint">narthex found no problems in the objects that it reads.</p></div>}
      {[...objects].map(([object, problems]) => (
        <section class="card" key={object}>
          <h2>{object}</h2>
          <Problems problems={problems.map((one) => ({ ...one, object: null }))} />
        </section>
      ))}
      {loaded.data.total > MOST && <p class="faint">Only the first {count(MOST)} are shown.</p>}
    </>
  )
}

const DAY = 86_400_000

export function Certificates(): JSX.Element {
  const live = useLive()
  const loaded = useData<Page<Certificate>>(`certificates?per_page=${MOST}`, 10_000, live.changes)
  if (!loaded.data) return <><div class="bar"><h1>Certificates</h1></div><Waiting of={loaded} /></>
  return (
    <>
      <div class="bar"><h1>Certificates</h1><span class="num faint">{count(loaded.data.total)}</span></div>
      {loaded.data.items.length === 0 ? (
        <div class="card state"><h2>No certificates</h2><p class="faint">Certificates appear with the first Ingress that has spec.tls and a Secret.</p></div>
      ) : (
        <div class="card scroll" tabIndex={0} role="region" aria-label="Certificates">
          <table>
            <thead><tr><th scope="col">Names</th><th scope="col">Secret</th><th scope="col">Issuer</th><th scope="col">Expires</th><th scope="col">Used by</th></tr></thead>
            <tbody>
              {loaded.data.items.map((one, at) => {
                const days = Math.floor((Date.parse(one.not_after) - Date.now()) / DAY)
                return (
                  <tr key={at}>
                    <td><Mark status={one.status} /> {one.names.join(', ') || '–'}</td>
                    <td>{one.secret?.replace(/^Secret /, '') ?? '–'} <span class="faint">{one.kind}</span></td>
                    <td class="small">{one.issuer}</td>
                    <td class={`num${days < 14 ? ' bad' : ''}`} title={moment(one.not_after)}>{days < 0 ? 'expired' : `in ${days} days`}</td>
                    <td class="small">{one.used_by.join(', ') || 'none'}</td>
                  </tr>
                )
              })}
            </tbody>
          </table>
        </div>
      )}
    </>
  )
}

function Names({ what, names, all }: { what: string; names: string[]; all: number }): JSX.Element | null {
  if (all === 0) return null
  return (
    <p class="small">
      <span class={`tag ${what}`}>{what} {count(all)}</span> {names.join(', ')}{all > names.length && <span class="faint"> and {count(all - names.length)} more</span>}
    </p>
  )
}

export function Changes(): JSX.Element {
  const live = useLive()
  const loaded = useData<Page<Change>>('changes?per_page=200', 5000, live.changes)
  if (!loaded.data) return <><div class="bar"><h1>Changes</h1></div><Waiting of={loaded} /></>
  return (
    <>
      <div class="bar"><h1>Changes</h1><span class="num faint">the last {count(loaded.data.items.length)} changes of the routing table</span></div>
      <ol class="timeline">
        {loaded.data.items.map((one) => (
          <li key={one.generation}>
            <time dateTime={one.at} title={moment(one.at)}>{time(one.at)}<span class="faint small"> {ago(one.at)}</span></time>
            <div class="card">
              <p>{one.objects.join(', ') || 'no named object'}</p>
              <Names what="added" names={one.added} all={one.counts.added} />
              <Names what="altered" names={one.altered} all={one.counts.altered} />
              <Names what="removed" names={one.removed} all={one.counts.removed} />
              <p class="small faint num">generation {one.generation}, live after {ms(one.live_ms)}</p>
            </div>
          </li>
        ))}
      </ol>
    </>
  )
}
