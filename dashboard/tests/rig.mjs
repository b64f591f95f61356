// Chromium (Debian's) and a real narthex, for tests and pictures of the dashboard.

import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

export const NARTHEX = process.env.NARTHEX ?? new URL('../../target/debug/narthex', import.meta.url).pathname

export async function browser() {
  const path = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find((one) => existsSync(one))
  if (!path) throw new Error('there is no Chromium: apt-get install chromium')
  return chromium.launch({ executablePath: path, args: ['--no-sandbox', '--disable-gpu'] })
}

function freePort() {
  return new Promise((done, failed) => {
    const server = createServer()
    server.on('error', failed)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => done(port))
    })
  })
}

/** Looks again and again until something is so. */
export async function eventually(what, look, seconds = 20) {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`)
    await new Promise((done) => setTimeout(done, 50))
  }
}

/** Starts `narthex COMMAND FLAGS...` on free ports. */
export async function narthex(command, flags = []) {
  const folder = mkdtempSync(join(tmpdir(), 'narthex-dashboard-'))
  const [http, https, port] = [await freePort(), await freePort(), await freePort()]
  const listen = ['--listen-http', `127.0.0.1:${http}`, '--listen-https', `127.0.0.1:${https}`, '--admin', `127.0.0.1:${port}`]
  const child = spawn(NARTHEX, [command, ...listen, ...flags], { env: { ...process.env, TMPDIR: folder }, stdio: 'ignore' })
  const admin = `http://127.0.0.1:${port}`
  await eventually('narthex is ready', async () => {
    if (child.exitCode !== null) throw new Error(`narthex ended with ${child.exitCode}`)
    return fetch(`${admin}/readyz`).then((reply) => reply.ok, () => false)
  })
  const gone = new Promise((done) => child.on('exit', done))
  return {
    admin,
    http: `http://127.0.0.1:${http}`,
    kill: () => child.kill('SIGKILL'),
    async stop() {
      child.kill('SIGKILL')
      await gone
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
