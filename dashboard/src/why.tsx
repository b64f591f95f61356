// Why a URL goes where it goes: the decision of `narthex explain`, step by step. The question stands in the address, so that
// it can be sent to somebody.

import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { Decision, Rule } from './api'
import { useLive } from './live'
import { Problems, Section, Waiting } from './parts'
import { useData, type Place } from './use'

function RuleLine({ rule }: { rule: Rule }): JSX.Element {
  return (
    <>
      <p><b>{rule.host}</b> {rule.path} <span class="faint">→</span> {rule.backend}</p>
      <p class="small faint">{rule.object} <code>{rule.field}</code></p>
    </>
  )
}

/** How the verdict is drawn: a redirect is no failure. */
const EDGES = { ok: '', warning: 'warn-edge', error: 'bad-edge' }

/** What becomes of a request at a step. */
const OUTCOMES: Record<string, string> = {
  passes: 'passes',
  changes: 'passes, with changes',
  depends: 'depends on what the client has asked before, or can show',
  ends: 'answers',
}

function Steps({ of }: { of: Decision }): JSX.Element {
  const chosen = of.rule
  // What matches is not said to answer where requests are refused or fail.
  const answers = of.state !== 'error'
  const mark = answers ? <span class="tag ok">answers</span> : <span class="tag">matches</span>
  const yielded = of.yielded ?? []
  const younger = of.shadows.filter((origin) => !yielded.some((why) => why.startsWith(`${origin}: `)))
  return (
    <>
      <div class={`card verdict ${EDGES[of.state ?? 'ok']}`}>
        <div role="status">
          <p class="big">{of.summary}</p>
          {of.status && <p>The client gets status {of.status}.</p>}
          {of.location && <p>The client is sent to <code>{of.location}</code>.</p>}
        </div>
        {of.now && of.now.status !== 'error' && <p>Now: {of.now.summary}.</p>}
      </div>
      {(of.hints ?? []).length > 0 && (
        <Section title="What may be meant, or in the way">
          <ul class="plain hints">
            {(of.hints ?? []).map((hint, at) => (
              <li key={at}>{hint.message} {hint.url && <a href={`#/why?${new URLSearchParams({ url: hint.url })}`}>Explain {hint.url}</a>}</li>
            ))}
          </ul>
        </Section>
      )}
      <ol class="steps">
        <li>
          <h2>The request</h2>
          <p>
            {of.method} for host <code>{of.host ?? '(none)'}</code>, path <code>{of.path}</code>
            <span class="faint"> as they are matched and forwarded</span>
          </p>
          {of.certificate && <p>Certificate: {of.certificate}</p>}
        </li>
        <li>
          <h2>Hosts, most specific first</h2>
          <ul class="plain">
            {of.hosts.map(([host, rules]) => (
              <li key={host} class={chosen?.host === host && answers ? 'chosen' : ''}>
                <code>{host}</code> {rules === 0 ? <span class="faint">no rules</span> : `${rules} ${rules === 1 ? 'rule' : 'rules'}`}
                {chosen?.host === host && mark}
              </li>
            ))}
          </ul>
        </li>
        <li>
          <h2>Paths, longest first, Exact before Prefix</h2>
          {chosen ? <div class={answers ? 'chosen' : 'matched'}>{mark}<RuleLine rule={chosen} /></div> : <p>No rule matches.</p>}
          {of.lost.length > 0 && <h3>Rules that nearly matched</h3>}
          <ul class="plain">
            {of.lost.map(([rule, why], at) => (
              <li key={at}><RuleLine rule={rule} /><p class="why">{why}</p></li>
            ))}
          </ul>
          {yielded.length > 0 && <h3>Rules for the same host and path that yielded</h3>}
          <ul class="plain">{yielded.map((why) => <li key={why}>{why}</li>)}</ul>
          {younger.length > 0 && <h3>Rules for the same host and path that are newer, or later by name</h3>}
          <ul class="plain">{younger.map((origin) => <li key={origin}>{origin}</li>)}</ul>
        </li>
        {(of.steps ?? []).length > 0 && (
          <li>
            <h2>Policies of the rule, in their order</h2>
            <ul class="plain">
              {(of.steps ?? []).map((one, at) => (
                <li key={at}><code>{one.step}</code> <span class="faint">{OUTCOMES[one.outcome] ?? one.outcome}</span></li>
              ))}
            </ul>
            {of.forwarded_path && <p>The pod gets the path <code>{of.forwarded_path}</code>.</p>}
          </li>
        )}
        {chosen && (
          <li>
            <h2>Pods</h2>
            {of.endpoints.length === 0 ? <p class="bad">No pods: requests get 503.</p> : (
              <ul class="plain pods">
                {of.endpoints.map((one) => (
                  <li key={one.address}>
                    <span class="pod"><b>{one.pod ?? 'no pod'}</b> <span class="address">{one.address}</span></span>
                    {one.trouble && <p class="why bad">{one.trouble}</p>}
                  </li>
                ))}
              </ul>
            )}
          </li>
        )}
      </ol>
      {of.problems.length > 0 && <Section title="Problems"><Problems problems={of.problems} /></Section>}
    </>
  )
}

export function Why({ at }: { at: Place }): JSX.Element {
  const asked = at.query.toString()
  const [url, setUrl] = useState(at.query.get('url') ?? '')
  const [method, setMethod] = useState(at.query.get('method') ?? 'GET')
  const [fields, setFields] = useState(at.query.getAll('header').join('\n'))
  const changes = useLive().changes
  // What happens now changes without a change of the table.
  const loaded = useData<Decision>(at.query.get('url') ? `explain?${asked}` : null, 2000, changes)
  const submit = (event: Event) => {
    event.preventDefault()
    const query = new URLSearchParams({ url: url.trim() })
    if (method !== 'GET') query.set('method', method)
    for (const line of fields.split('\n')) if (line.trim()) query.append('header', line.trim())
    location.hash = `#/why?${query}`
  }
  return (
    <>
      <div class="bar"><h1>Why?</h1></div>
      <form class="card why-form" onSubmit={submit}>
        <div class="line">
          <select aria-label="Method" value={method} onChange={(event) => setMethod(event.currentTarget.value)}>
            {['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].map((one) => <option key={one}>{one}</option>)}
          </select>
          <input aria-label="URL" required placeholder="http://www.example.com/foo" value={url} onInput={(event) => setUrl(event.currentTarget.value)} />
          <button type="submit">Explain</button>
        </div>
        <details open={fields !== ''}>
          <summary>Headers</summary>
          <textarea aria-label="Headers, one per line" rows={3} placeholder="Name: value" value={fields} onInput={(event) => setFields(event.currentTarget.value)} />
        </details>
      </form>
      {!at.query.get('url') ? (
        <div class="card state"><p class="faint">Enter a URL to see which rule answers it, and why. You can share the address of this page.</p></div>
      ) : loaded.data ? <Steps of={loaded.data} /> : <Waiting of={loaded} />}
    </>
  )
}
