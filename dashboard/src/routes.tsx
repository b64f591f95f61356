// The two columns that users of Traefik 1.7 know: what comes in, and where it goes. Only the rows in sight are drawn, and
// only their pages are asked for, so that 10,000 routes are no more work than ten.

import type { JSX } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { get, NoToken, type Page, type Route } from './api'
import { count, ms, rate, share } from './format'
import { useLive } from './live'
import { Mark, Pod, Spark, Waiting } from './parts'
import { setQuery, useMedia, type Place } from './use'

const PER_PAGE = 100
const REFRESH_MS = 2000
const MOST_PODS = 3

function Row({ route, style }: { route: Route; style: JSX.CSSProperties }): JSX.Element {
  const live = useLive().last?.routes[route.id]
  const traffic = { ...route.traffic, ...(live ?? {}) }
  const hidden = route.endpoints.length - MOST_PODS
  return (
    <li class="row" style={style}>
      <a class="cell from" href={`#/route/${route.id}`}>
        <span class="title">
          <Mark status={route.status} />
          <span class="host">
            {route.host}
            <span class="path">{route.path ?? ''}</span>
          </span>
          {route.path_type && route.path_type !== 'Prefix' && <span class="tag">{route.path_type}</span>}
          {route.tls && <span class="tag">TLS</span>}
          {route.problems > 0 && <span class={`tag ${route.status}`}>{route.problems} {route.problems === 1 ? 'problem' : 'problems'}</span>}
        </span>
        <span class="small faint clip">{route.object}</span>
        <span class="figures">
          <Spark values={route.traffic.spark} />
          <span class="num"><b>{rate(traffic.rate)}</b>/s</span>
          <span class={`num${traffic.error_share > 0.01 ? ' bad' : ''}`}>{share(traffic.error_share)} errors</span>
          <span class="num">p50 {ms(traffic.p50_ms)}</span>
          <span class="num">p99 {ms(traffic.p99_ms)}</span>
        </span>
      </a>
      <div class="cell to">
        <span class="title">
          <span class="clip">{route.service ? `Service ${route.backend}` : route.backend}</span>
          {route.state !== 'ready' && <span class="tag error">{route.state.replaceAll('_', ' ')}</span>}
        </span>
        <span class="pods">
          {route.endpoints.slice(0, MOST_PODS).map((endpoint) => <Pod key={endpoint.address} endpoint={endpoint} />)}
          {hidden > 0 && <a class="small" href={`#/route/${route.id}`}>and {hidden} more</a>}
          {route.endpoints.length === 0 && <span class="small bad">no pod answers: 503</span>}
        </span>
      </div>
    </li>
  )
}

interface Known {
  total: number | null
  pages: Map<number, Route[]>
  error: string | null
  locked: boolean
}

export function Routes({ at }: { at: Place }): JSX.Element {
  const q = at.query.get('q') ?? ''
  const status = at.query.get('status') ?? ''
  const sort = at.query.get('sort') ?? ''
  const asked = useMemo(() => new URLSearchParams({ q, status, sort, per_page: String(PER_PAGE) }).toString(), [q, status, sort])
  const narrow = useMedia('(max-width: 760px)')
  const height = narrow ? 232 : 116
  const [known, setKnown] = useState<Known>({ total: null, pages: new Map(), error: null, locked: false })
  const [top, setTop] = useState(0)
  const [room, setRoom] = useState(800)
  const list = useRef<HTMLUListElement>(null)
  const changes = useLive().changes

  useEffect(() => {
    const look = () => {
      setTop(Math.max(0, -(list.current?.getBoundingClientRect().top ?? 0)))
      setRoom(innerHeight)
    }
    look()
    addEventListener('scroll', look, { passive: true })
    addEventListener('resize', look)
    return () => {
      removeEventListener('scroll', look)
      removeEventListener('resize', look)
    }
  }, [known.total === null])

  const first = Math.max(0, Math.floor(top / height) - 6)
  const last = Math.min(Math.max((known.total ?? 0) - 1, 0), Math.ceil((top + room) / height) + 6)
  const [firstPage, lastPage] = [Math.floor(first / PER_PAGE) + 1, Math.floor(last / PER_PAGE) + 1]

  useEffect(() => {
    const stop = new AbortController()
    let timer = 0
    const load = async () => {
      try {
        for (let page = firstPage; page <= lastPage; page++) {
          const got = await get<Page<Route>>(`routes?${asked}&page=${page}`, stop.signal)
          setKnown((old) => ({ total: got.total, pages: new Map(old.pages).set(page, got.items), error: null, locked: false }))
        }
      } catch (error) {
        if (stop.signal.aborted) return
        const message = error instanceof Error ? error.message : String(error)
        setKnown((old) => ({ ...old, error: message, locked: error instanceof NoToken }))
      }
      if (!stop.signal.aborted) timer = window.setTimeout(load, REFRESH_MS)
    }
    void load()
    return () => {
      stop.abort()
      clearTimeout(timer)
    }
  }, [asked, firstPage, lastPage, changes])
  // What was found for another question is not shown under this one.
  useEffect(() => setKnown((old) => ({ ...old, pages: new Map() })), [asked])

  const query = (next: Record<string, string>) => setQuery('routes', { q, status, sort, ...next })
  const rows: JSX.Element[] = []
  for (let index = first; index <= last && index < (known.total ?? 0); index++) {
    const style = { top: `${index * height}px`, height: `${height}px` }
    const route = known.pages.get(Math.floor(index / PER_PAGE) + 1)?.[index % PER_PAGE]
    rows.push(route ? <Row key={index} route={route} style={style} /> : <li key={index} class="row blank" style={style} />)
  }
  return (
    <>
      <div class="bar">
        <h1>Routes</h1>
        <input
          type="search" aria-label="Filter by host, path, Ingress, Service, pod or address" placeholder="Filter: host, path, Ingress, Service, pod, address"
          value={q} onInput={(event) => query({ q: event.currentTarget.value })}
        />
        <select aria-label="Show" value={status} onChange={(event) => query({ status: event.currentTarget.value })}>
          <option value="">all</option>
          <option value="error">with errors</option>
          <option value="warning">with warnings</option>
          <option value="ok">without problems</option>
        </select>
        <select aria-label="Sort" value={sort} onChange={(event) => query({ sort: event.currentTarget.value })}>
          <option value="">by host</option>
          <option value="-rate">busiest first</option>
          <option value="-error_share">most errors first</option>
          <option value="-p99_ms">slowest first</option>
          <option value="object">by Ingress</option>
        </select>
        <span class="num faint" role="status">{known.total === null ? '' : `${count(known.total)} ${known.total === 1 ? 'route' : 'routes'}`}</span>
      </div>
      {known.total === null && <Waiting of={{ data: null, error: known.error, locked: known.locked }} />}
      {known.total === 0 && (
        <div class="card state">
          <h2>{q || status ? 'No matching routes' : 'No routes yet'}</h2>
          <p class="faint">
            {q || status
              ? 'Remove a word from the filter, or show all routes.'
              : 'Routes appear with the first Ingress of a class that narthex serves. Problems lists what is wrong with existing Ingresses.'}
          </p>
        </div>
      )}
      {!!known.total && (
        <>
          <div class="columns faint" aria-hidden="true"><span>Frontends</span><span>Backends</span></div>
          <ul class="rows" ref={list} style={{ height: `${known.total * height}px` }}>{rows}</ul>
        </>
      )}
    </>
  )
}
