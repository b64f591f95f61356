// What happens now: one stream for the whole page, and whether it can be believed.

import { useEffect, useState } from 'preact/hooks'
import { listen, NoToken, type Tick } from './api'

/** Ticks that charts look back on: ten minutes. */
const KEPT = 600
/** Without a tick for so long, what is shown is old. A tick comes each second. */
const STALE_MS = 4000

export interface Live {
  ticks: Tick[]
  last: Tick | null
  heard: number
  changes: number
  locked: boolean
}

let live: Live = { ticks: [], last: null, heard: 0, changes: 0, locked: false }
const watchers = new Set<(live: Live) => void>()

function set(next: Partial<Live>): void {
  live = { ...live, ...next }
  for (const watcher of watchers) watcher(live)
}

/** Follows the stream for as long as the page lives; after a break it tries again, more slowly each time. */
export async function follow(): Promise<never> {
  let pause = 500
  for (;;) {
    try {
      await listen((event, data) => {
        pause = 500
        if (event === 'tick') {
          const tick = data as Tick
          set({ ticks: [...live.ticks.slice(1 - KEPT), tick], last: tick, heard: Date.now(), locked: false })
        } else if (event === 'change') {
          set({ changes: live.changes + 1 })
        }
      }, new AbortController().signal)
    } catch (error) {
      if (error instanceof NoToken) set({ locked: true })
    }
    await new Promise((done) => setTimeout(done, pause))
    pause = Math.min(pause * 2, 8000)
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

/** Whether the stream has been silent for too long. */
export function useStale(): boolean {
  const [stale, setStale] = useState(false)
  useEffect(() => {
    const began = Date.now()
    const timer = setInterval(() => setStale(Date.now() - Math.max(live.heard, began) > STALE_MS), 500)
    return () => clearInterval(timer)
  }, [])
  return stale
}
