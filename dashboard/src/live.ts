// What happens now: one stream for the whole page, and whether it can be believed.

import { useEffect, useState } from 'preact/hooks'
import { lastAnswer, listen, NoToken, type Tick } from './api'

/** Ticks that charts look back on: ten minutes. */
const KEPT = 600
/** Without a tick for so long, what is shown is old. A tick comes each second. */
const STALE_MS = 4000
/** Without a tick for so long, the stream is given up and asked for anew: its connection may be dead without an end. */
const SILENT_MS = 10_000
/** The longest pause between two tries; shorter than a page takes to be called old. */
const PAUSE_MS = 3000

export interface Live {
  ticks: Tick[]
  last: Tick | null
  heard: number
  changes: number
  locked: boolean
  /** Why there is no stream, where narthex says so. */
  refused: string | null
}

let live: Live = { ticks: [], last: null, heard: 0, changes: 0, locked: false, refused: null }
const watchers = new Set<(live: Live) => void>()

function set(next: Partial<Live>): void {
  live = { ...live, ...next }
  for (const watcher of watchers) watcher(live)
}

/** Follows the stream for as long as the page lives; after a break it tries again, more slowly each time. */
export async function follow(): Promise<never> {
  let pause = 500
  for (;;) {
    const stop = new AbortController()
    let timer = setTimeout(() => stop.abort(), SILENT_MS)
    try {
      await listen('stream', (event, data) => {
        pause = 500
        clearTimeout(timer)
        timer = setTimeout(() => stop.abort(), SILENT_MS)
        if (event === 'tick') {
          const tick = data as Tick
          set({ ticks: [...live.ticks.slice(1 - KEPT), tick], last: tick, heard: Date.now(), locked: false, refused: null })
        } else if (event === 'change') {
          set({ changes: live.changes + 1 })
        }
      }, stop.signal)
    } catch (error) {
      if (error instanceof NoToken) set({ locked: true })
      // A TypeError is fetch's own for a connection that fails: then narthex has said nothing.
      else set({ refused: error instanceof TypeError || stop.signal.aborted ? null : String(error instanceof Error ? error.message : error) })
    }
    clearTimeout(timer)
    await new Promise((done) => setTimeout(done, pause))
    pause = Math.min(pause * 2, PAUSE_MS)
  }
}

/** What is known now; the component is drawn anew with each tick. */
export function useLive(): Live {
  const [now, setNow] = useState(live)
  useEffect(() => {
    watchers.add(setNow)
    setNow(live)
    return () => void watchers.delete(setNow)
  }, [])
  return now
}

/** What can be believed: all of it; lists, but not what the stream brings; nothing. */
export type Trust = 'live' | 'lists' | 'nothing'

export function useTrust(): Trust {
  const [trust, setTrust] = useState<Trust>('live')
  useEffect(() => {
    const began = Date.now()
    const isOld = (at: number) => Date.now() - Math.max(at, began) > STALE_MS
    const timer = setInterval(() => setTrust(!isOld(live.heard) ? 'live' : isOld(lastAnswer()) ? 'nothing' : 'lists'), 500)
    return () => clearInterval(timer)
  }, [])
  return trust
}
