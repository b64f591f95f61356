// Requests of a route as they end, for as long as somebody looks: what `narthex tap` prints.

import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { listen, type Tapped } from './api'
import { ms, time } from './format'
import { Section } from './parts'

/** Requests that are kept on the page. */
const KEPT = 50
/** Requests a second that are asked for: more than anybody reads. */
const RATE = 20

const CHOICES: [string, string][] = [['', 'all'], ['status=5xx', '5xx'], ['status=4xx', '4xx'], ['slower=500ms', 'slower than 500 ms']]

/** Each pod that was tried, with the time it took or why it did not answer. */
function tried(of: Tapped): string {
  return of.attempts.map((one) => `${one.pod ?? one.address} ${one.error ? `(${one.error})` : ms(one.response_ms)}`).join(', then ')
}

function Line({ of }: { of: Tapped }): JSX.Element {
  const why = [of.reason, of.cause].filter(Boolean).join(': ')
  return (
    <tr>
      <td class="num">{time(of.at)}</td>
      <td class={`num${of.status >= 500 ? ' bad' : ''}`}>{of.status}</td>
      <td class="num right">{ms(of.total_ms)}</td>
      <td class="wide">
        {of.method} {of.host}
        {of.path}
        {of.attempts.length > 0 && <div class="small faint">→ {tried(of)}</div>}
        {why && <div class="small bad">{why}</div>}
      </td>
    </tr>
  )
}

export function Tap({ route }: { route: string }): JSX.Element {
  const [on, setOn] = useState(false)
  const [filter, setFilter] = useState('')
  const [shown, setShown] = useState<Tapped[]>([])
  const [leftOut, setLeftOut] = useState(0)
  const [wrong, setWrong] = useState<string | null>(null)
  useEffect(() => {
    if (!on) return
    const stop = new AbortController()
    setShown([])
    setLeftOut(0)
    setWrong(null)
    // Several may come at once, and drawing each of them would take long.
    let come: Tapped[] = []
    const timer = setInterval(() => {
      if (come.length === 0) return
      const now = come
      come = []
      setShown((before) => [...now.reverse(), ...before].slice(0, KEPT))
    }, 250)
    const hear = (event: string, data: unknown) => {
      if (event === 'request') come.push(data as Tapped)
      if (event === 'left-out') setLeftOut((before) => before + (data as { requests: number }).requests)
    }
    listen(`tap?route=${encodeURIComponent(route)}&rate=${RATE}&${filter}`, hear, stop.signal).then(
      () => setOn(false),
      (error: unknown) => {
        if (stop.signal.aborted) return
        setWrong(error instanceof TypeError ? 'The connection to narthex has ended.' : String(error instanceof Error ? error.message : error))
        setOn(false)
      },
    )
    return () => {
      clearInterval(timer)
      stop.abort()
    }
  }, [on, filter, route])
  return (
    <Section title="Live requests" note={on ? 'as they end' : ''}>
      <div class="line">
        <button type="button" onClick={() => setOn(!on)}>{on ? 'Stop' : 'Show requests as they end'}</button>
        <select aria-label="Which requests" value={filter} onChange={(event) => setFilter(event.currentTarget.value)}>
          {CHOICES.map(([value, words]) => <option key={value} value={value}>{words}</option>)}
        </select>
      </div>
      {wrong && <p class="bad" role="alert">{wrong}</p>}
      {on && shown.length === 0 && <p class="faint">No request has ended yet.</p>}
      {shown.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Live requests">
          <table class="taps">
            <thead>
              <tr>
                <th scope="col">When</th><th scope="col">Status</th><th scope="col" class="right">Time</th>
                <th scope="col">Request, and the pods that were tried</th>
              </tr>
            </thead>
            <tbody>{shown.map((one) => <Line key={one.request_id + one.at} of={one} />)}</tbody>
          </table>
        </div>
      )}
      {leftOut > 0 && <p class="small faint">{leftOut.toLocaleString()} more were left out, since there were too many.</p>}
    </Section>
  )
}
