// What the admin API says (docs/openapi.json), and how it is asked.

import type * as Api from './openapi'

export type { Change, Decision, Overview, Problem, RouteDetail, Rule, Status, Tapped, Tick, Traffic } from './openapi'
export type Endpoint = Api.EndpointInfo
export type Route = Api.RouteInfo
export type Failure = Api.RecentError
export type Certificate = Api.CertificateInfo

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
 * Listens to a stream until it ends. By fetch and not EventSource, which cannot send a token.
 * (Server-sent events: HTML Living Standard, section 9.2; ours have one line of data each.)
 */
export async function listen(path: string, hear: (event: string, data: unknown) => void, signal: AbortSignal): Promise<void> {
  const reply = await ask(path, signal)
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
