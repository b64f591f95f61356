// Small hooks: data that is asked for again and again, where we are, and how wide the page is.

import { useEffect, useRef, useState } from 'preact/hooks'
import { get, NoToken } from './api'

export interface Loaded<T> {
  data: T | null
  error: string | null
  locked: boolean
}

/** Asks at once, again every `every` milliseconds, and whenever `path` or `key` changes. Old data of the same path stay until new ones come. */
export function useData<T>(path: string | null, every = 2000, key: unknown = 0): Loaded<T> {
  const [loaded, setLoaded] = useState<Loaded<T>>({ data: null, error: null, locked: false })
  const shown = useRef<string | null>(null)
  useEffect(() => {
    if (path === null) return
    const stop = new AbortController()
    let timer = 0
    // What was said of something else is not shown for this.
    if (shown.current !== path) setLoaded({ data: null, error: null, locked: false })
    const load = async () => {
      try {
        const data = await get<T>(path, stop.signal)
        shown.current = path
        setLoaded({ data, error: null, locked: false })
      } catch (error) {
        if (stop.signal.aborted) return
        const message = error instanceof Error ? error.message : String(error)
        setLoaded((old) => ({
          data: shown.current === path ? old.data : null,
          error: message,
          locked: error instanceof NoToken,
        }))
      }
      if (!stop.signal.aborted && every > 0) timer = window.setTimeout(load, every)
    }
    void load()
    return () => {
      stop.abort()
      clearTimeout(timer)
    }
  }, [path, every, key])
  return loaded
}

export interface Place {
  page: string
  rest: string
  query: URLSearchParams
}

/** Where we are: `#/page/rest?query`. */
export function place(): Place {
  const text = location.hash.replace(/^#\/?/, '')
  const end = text.includes('?') ? text.indexOf('?') : text.length
  const [page = '', ...rest] = text.slice(0, end).split('/')
  return { page: page || 'routes', rest: rest.join('/'), query: new URLSearchParams(text.slice(end + 1)) }
}

export function usePlace(): Place {
  const [now, setNow] = useState(place)
  useEffect(() => {
    const moved = () => setNow(place())
    addEventListener('hashchange', moved)
    return () => removeEventListener('hashchange', moved)
  }, [])
  return now
}

/** Changes the query of the place without a step in the history: for what is typed. */
export function setQuery(page: string, query: Record<string, string>): void {
  const kept = Object.entries(query).filter(([, value]) => value !== '')
  const text = new URLSearchParams(kept).toString()
  history.replaceState(null, '', `#/${page}${text ? `?${text}` : ''}`)
  dispatchEvent(new HashChangeEvent('hashchange'))
}

export function useMedia(query: string): boolean {
  const [is, setIs] = useState(() => matchMedia(query).matches)
  useEffect(() => {
    const media = matchMedia(query)
    const changed = () => setIs(media.matches)
    media.addEventListener('change', changed)
    return () => media.removeEventListener('change', changed)
  }, [query])
  return is
}
