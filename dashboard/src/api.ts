// What the admin API says (docs/openapi.json), and how it is asked.

export type Status = 'ok' | 'warning' | 'error'
export interface Traffic {
  requests: number
  codes: Record<string, number>
  in_flight: number
  bytes_in: number
  bytes_out: number
  rate: number
  error_share: number
  p50_ms: number | null
  p99_ms: number | null
  spark: number[]
}
export interface Endpoint {
  address: string
  pod: string | null
  zone: string | null
  near: boolean
  requests: number
  failures: number
  in_flight: number
  rate: number
  check: string | null
  set_aside: { why: string; seconds: number; shards: number } | null
}
export interface Route {
  id: string
  host: string
  path: string | null
  path_type: string | null
  object: string
  namespace: string
  name: string
  field: string
  backend: string
  service: string | null
  state: string
  guard: string | null
  status: Status
  problems: number
  tls: boolean
  endpoints: Endpoint[]
  traffic: Traffic
}
export interface Problem {
  severity: string
  code: string
  message: string
  object?: string | null
  field?: string
  location?: string | null
}
export interface Failure {
  at: string
  status: number
  reason: string
  side: string
  method: string
  host: string
  path: string
  origin: string | null
  endpoint: string | null
  cause: string | null
  request_id: string
}
export interface RouteDetail extends Route {
  policies: Record<string, string>
  settings: Record<string, string>
  shadows: string[]
  diagnostics: Problem[]
  certificate: string | null
  recent_errors: Failure[]
  source: { location: string | null; yaml: string | null; reason: string | null }
}
export interface Rule {
  host: string
  path: string
  object: string
  field: string
  backend: string
}
export interface Decision {
  method: string
  host: string | null
  path: string
  status: number | null
  summary: string
  rule: Rule | null
  /** Claims to the very same host and path that lost: `Ingress NAMESPACE/NAME field`. */
  shadows: string[]
  /** Those among them that have yielded the place, each with the reason behind a colon. */
  yielded?: string[]
  endpoints: { address: string; pod: string | null }[]
  hosts: [string, number][]
  lost: [Rule, string][]
  problems: Problem[]
  certificate?: string | null
}
export interface Certificate {
  names: string[]
  issuer: string
  not_before: string
  not_after: string
  secret: string | null
  namespace: string
  kind: string
  hosts: string[]
  used_by: string[]
  status: Status
}
export interface Change {
  at: string
  generation: number
  objects: string[]
  added: string[]
  removed: string[]
  altered: string[]
  counts: { added: number; removed: number; altered: number }
  live_ms: number
}
export interface Overview {
  name: string
  version: string
  pod: string
  started: string
  ready: boolean
  generation: number
  uptime_seconds: number
  counts: Record<string, number>
  problems: Record<string, number>
  traffic: Traffic
  connections: number
  connections_by_shard: number[]
  memory_bytes: number | null
  watches: { name: string; required: boolean; synced: boolean; state: string; silent_seconds: number | null }[]
}
export interface Tick {
  at: string
  rate: number
  error_rate: number
  in_flight: number
  connections: number
  codes: Record<string, number>
  p50_ms: number | null
  p99_ms: number | null
  generation: number
  problems: Record<string, number>
  routes: Record<string, { rate: number; error_share: number; p50_ms: number | null; p99_ms: number | null }>
}
export interface Page<T> {
  total: number
  page: number
  per_page: number
  items: T[]
}
export interface Nodes<T> {
  nodes: { pod: string | null; address: string; silent: boolean; error?: string; answer?: T }[]
}

const TOKEN = 'narthex-token'

/** The API wants a token that we do not have, or have wrong. */
export class NoToken extends Error {}

export function setToken(token: string): void {
  sessionStorage.setItem(TOKEN, token)
}

export function hasToken(): boolean {
  return sessionStorage.getItem(TOKEN) !== null
}

/** When narthex said anything last, were it an error. */
let answered = 0

export function lastAnswer(): number {
  return answered
}

function fields(): Record<string, string> {
  const token = sessionStorage.getItem(TOKEN)
  return token ? { authorization: `Bearer ${token}` } : {}
}

async function ask(path: string, signal?: AbortSignal): Promise<Response> {
  const reply = await fetch(`/api/v1/${path}`, { headers: fields(), signal: signal ?? null })
  answered = Date.now()
  if (reply.status === 401) throw new NoToken('a token is needed')
  if (!reply.ok) {
    const said = (await reply.json().catch(() => ({}))) as { error?: string }
    throw new Error(said.error ?? `status ${reply.status}`)
  }
  return reply
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await ask(path, signal)).json()) as T
}

/**
 * Listens to the stream until it ends. By fetch and not EventSource, which cannot send a token.
 * (Server-sent events: HTML Living Standard, section 9.2; ours have one line of data each.)
 */
export async function listen(hear: (event: string, data: unknown) => void, signal: AbortSignal): Promise<void> {
  const reply = await ask('stream', signal)
  const reader = reply.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    text += value
    answered = Date.now()
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n')
      text = text.slice(end + 2)
      const line = (name: string) => lines.find((one) => one.startsWith(`${name}: `))?.slice(name.length + 2)
      const data = line('data')
      if (data) hear(line('event') ?? 'message', JSON.parse(data))
    }
  }
}
