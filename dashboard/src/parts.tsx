// What the pages are made of.

import type { ComponentChildren, JSX } from 'preact'
import { useState } from 'preact/hooks'
import { hasToken, setToken, type Endpoint, type Failure, type Problem, type Status } from './api'
import { moment, rate, time } from './format'
import type { Loaded } from './use'

const WORDS: Record<Status, string> = { ok: 'OK', warning: 'has warnings', error: 'has errors' }

export function Mark({ status }: { status: Status }): JSX.Element {
  return <span class={`mark ${status}`} role="img" aria-label={WORDS[status]} title={WORDS[status]} />
}

/** The last minute, a bar a second or so. */
export function Spark({ values }: { values: number[] }): JSX.Element {
  const most = Math.max(1, ...values)
  const width = 120
  const step = width / 60
  const shown = values.slice(-60)
  const points = shown.map((value, at) => {
    const x = (60 - shown.length + at) * step
    return `${x.toFixed(1)},${(27 - (value / most) * 25).toFixed(1)}`
  })
  return (
    <svg class="spark" viewBox={`0 0 ${width} 28`} preserveAspectRatio="none" aria-hidden="true">
      {points.length > 1 && <polyline points={points.join(' ')} />}
    </svg>
  )
}

export function Pod({ endpoint }: { endpoint: Endpoint }): JSX.Element {
  const aside = endpoint.set_aside
  return (
    <span class={`pod${aside ? ' aside' : ''}`} title={aside ? `ejected: ${aside.why}` : endpoint.address}>
      <b>{endpoint.pod ?? 'no pod'}</b> <span class="address">{endpoint.address}</span>
      <span class="num">{rate(endpoint.rate)}/s</span>
    </span>
  )
}

export function Problems({ problems }: { problems: Problem[] }): JSX.Element {
  return (
    <ul class="problems">
      {problems.map((problem, at) => (
        <li key={at} class={problem.severity}>
          <span class={`tag ${problem.severity}`}>{problem.severity}</span>
          <div>
            <p>{problem.message}</p>
            <p class="small">
              {problem.object && <span>{problem.object}</span>} {problem.field && <code>{problem.field}</code>}{' '}
              {problem.location && <code>{problem.location}</code>} <span class="faint">{problem.code}</span>
            </p>
          </div>
        </li>
      ))}
    </ul>
  )
}

export function Failures({ failures }: { failures: Failure[] }): JSX.Element {
  if (failures.length === 0) return <p class="faint">No recent errors.</p>
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Recent errors">
      <table>
        <thead>
          <tr>
            <th scope="col">When</th>
            <th scope="col">Status</th>
            <th scope="col">Why</th>
            <th scope="col">Request</th>
            <th scope="col">Pod</th>
          </tr>
        </thead>
        <tbody>
          {failures.slice(0, 50).map((one) => (
            <tr key={one.request_id + one.at}>
              <td class="num" title={moment(one.at)}>{time(one.at)}</td>
              <td class="num">{one.status}</td>
              <td>
                <code>{one.reason}</code>
                {one.cause && <div class="small faint">{one.cause}</div>}
              </td>
              <td class="wide">
                {one.method} {one.host}
                {one.path}
                <div class="small faint">{one.origin ?? 'no route'}</div>
              </td>
              <td class="small">{one.endpoint ?? '–'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

export function Section({ title, note, children }: { title: string; note?: string; children: ComponentChildren }): JSX.Element {
  return (
    <section class="card">
      <h2>
        {title} {note && <span class="faint">{note}</span>}
      </h2>
      {children}
    </section>
  )
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  )
}

/** What is shown instead of data: that they come, or why they do not. */
export function Waiting({ of }: { of: Loaded<unknown> }): JSX.Element {
  if (of.locked) return <Token />
  if (of.error) {
    return (
      <div class="card state" role="alert">
        <h2>This cannot be loaded</h2>
        <p>{of.error}</p>
        <p class="faint">narthex tries again every few seconds.</p>
      </div>
    )
  }
  return (
    <div class="card state" aria-busy="true">
      <p class="faint">Loading…</p>
    </div>
  )
}

export function Token(): JSX.Element {
  const [text, setText] = useState('')
  const enter = (event: Event) => {
    event.preventDefault()
    setToken(text.trim())
    location.reload()
  }
  return (
    <form class="card state" onSubmit={enter}>
      <h2>Token required</h2>
      {hasToken() && <p class="bad" role="alert">narthex did not accept this token.</p>}
      <p>This narthex was started with --admin-token-file. The token is kept only until you close this tab.</p>
      <label for="token">Token</label>
      <div class="line">
        <input id="token" type="password" autocomplete="off" value={text} onInput={(e) => setText(e.currentTarget.value)} />
        <button type="submit">Enter</button>
      </div>
    </form>
  )
}
