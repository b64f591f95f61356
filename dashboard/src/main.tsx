import { render, type JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { Health } from './health'
import { Certificates, Changes, ProblemsPage } from './lists'
import { follow, useLive, useTrust } from './live'
import { ms, rate } from './format'
import { Token } from './parts'
import { RoutePage } from './route'
import { Routes } from './routes'
import { useMedia, usePlace } from './use'
import { Why } from './why'
import './style.css'

const PAGES: [string, string][] = [
  ['routes', 'Routes'], ['why', 'Why?'], ['problems', 'Problems'], ['certificates', 'Certificates'], ['changes', 'Changes'], ['health', 'Health'],
]
const THEME = 'narthex-theme'

function useTheme(): [boolean, () => void] {
  const system = useMedia('(prefers-color-scheme: dark)')
  const [chosen, setChosen] = useState(localStorage.getItem(THEME))
  const dark = chosen ? chosen === 'dark' : system
  useEffect(() => document.documentElement.setAttribute('data-theme', dark ? 'dark' : 'light'), [dark])
  const turn = () => {
    const next = dark ? 'light' : 'dark'
    localStorage.setItem(THEME, next)
    setChosen(next)
  }
  return [dark, turn]
}

function App(): JSX.Element {
  const at = usePlace()
  const live = useLive()
  const trust = useTrust()
  const [dark, turn] = useTheme()
  const title = PAGES.find(([page]) => page === at.page)?.[1] ?? 'Route'
  useEffect(() => void (document.title = `${title} · narthex`), [title])
  useEffect(() => scrollTo(0, 0), [at.page, at.rest])
  const wrong = (live.last?.problems['error'] ?? 0) + (live.last?.problems['warning'] ?? 0)
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById('main')?.focus() }}>Skip to content</a>
      <header>
        <a class="name" href="#/routes"><span class="logo" aria-hidden="true" />narthex</a>
        <nav aria-label="Pages">
          {PAGES.map(([page, name]) => (
            <a key={page} href={`#/${page}`} aria-current={at.page === page || (page === 'routes' && at.page === 'route') ? 'page' : undefined}>
              {name}{page === 'problems' && wrong > 0 && <span class="badge">{wrong}</span>}
            </a>
          ))}
        </nav>
        <p class="now num" aria-live="off">
          {live.last && <><b>{rate(live.last.rate)}</b>/s <span class="faint">p99 {ms(live.last.p99_ms)}</span></>}
        </p>
        <button type="button" class="theme" onClick={turn} aria-label={dark ? 'Light theme' : 'Dark theme'}>{dark ? '☀' : '☾'}</button>
      </header>
      {trust !== 'live' && !live.locked && (
        <p class="stale" role="alert">
          {trust === 'nothing'
            ? `No answer from narthex${live.heard > 0 ? ` since ${new Date(live.heard).toLocaleTimeString()}` : ''}: this page shows old data. Trying again.`
            : `No live data${live.refused ? `: ${live.refused}` : ''}. Lists are still updated every few seconds.`}
        </p>
      )}
      <main id="main" tabIndex={-1}>
        {live.locked ? <Token />
          : at.page === 'route' ? <RoutePage id={at.rest} />
          : at.page === 'why' ? <Why key={at.query.toString()} at={at} />
          : at.page === 'problems' ? <ProblemsPage />
          : at.page === 'certificates' ? <Certificates />
          : at.page === 'changes' ? <Changes />
          : at.page === 'health' ? <Health dark={dark} />
          : <Routes at={at} />}
      </main>
    </>
  )
}

void follow()
render(<App />, document.body)
