// Every page of the dashboard, in Chromium, before a real narthex.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { browser, eventually, narthex } from './rig.mjs'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const PAGES = ['routes', 'why?url=http://www.example.com/foo', 'problems', 'certificates', 'changes', 'health']
let chromium

before(async () => { chromium = await browser() })
after(async () => { await chromium.close() })

/** A page that fails the test where a script fails, or where anything is asked of anybody else. */
async function open(t, admin, hash, options = {}) {
  const context = await chromium.newContext({ viewport: { width: 1280, height: 800 }, ...options })
  const page = await context.newPage()
  const wrong = []
  page.on('pageerror', (error) => wrong.push(error.message))
  page.on('console', (message) => message.type() === 'error' && /Content Security|Refused/.test(message.text()) && wrong.push(message.text()))
  page.on('request', (request) => request.url().startsWith(admin) || wrong.push(request.url()))
  t.after(async () => {
    await context.close()
    assert.deepEqual(wrong, [])
  })
  await page.goto(`${admin}/dashboard/#/${hash}`)
  return page
}

const service = (name, port) =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {ports: [{port: 80}]}\n---\n` +
  `apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: ${name}, labels: {kubernetes.io/service-name: ${name}}}\n` +
  `addressType: IPv4\nports: [{port: ${port}}]\nendpoints: [{addresses: ["127.0.0.1"], targetRef: {kind: Pod, name: ${name}-pod, uid: u}}]\n---\n`
const ingress = (name, host, path, to) =>
  `apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: ${name}}\nspec: {rules: [{host: ${host}, http: {paths: ` +
  `[{path: ${path}, pathType: Prefix, backend: {service: {name: ${to}, port: {number: 80}}}}]}}]}\n---\n`

async function withManifests(t, text, flags = []) {
  const folder = mkdtempSync(join(tmpdir(), 'manifests-'))
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'all.yaml'), text)
  const running = await narthex('serve', ['--manifests', folder, '--drain-grace', '0s', ...flags])
  t.after(async () => {
    await running.stop()
    rmSync(folder, { recursive: true })
  })
  return { ...running, write: (name, more) => writeFileSync(join(folder, name), more) }
}

test('the walkthrough, by somebody who has never seen it', async (t) => {
  const demo = await narthex('demo', ['--traffic', '50'])
  t.after(() => demo.stop())
  const page = await open(t, demo.admin, '')
  await page.getByText('www.example.com').first().waitFor()
  for (const host of ['www.example.com', 'www.yolo.org']) assert.ok(await page.getByText(host).first().isVisible(), host)
  assert.equal(await page.locator('.row .pod').count(), 6, 'six pods by name and address')
  assert.match(await page.locator('.row .pod').first().innerText(), /deploy1-.*127\.0\.0\.1:\d+/s)
  await eventually('traffic is shown', async () => /[1-9]/.test(await page.locator('.row .figures b').first().innerText()))

  await page.getByRole('link', { name: 'Why?' }).click()
  await page.getByLabel('URL').fill('http://www.example.com/foo')
  await page.getByRole('button', { name: 'Explain' }).click()
  await page.getByText(/www\.example\.com\/ of Ingress default\/ingress-test answers/).waitFor()
  assert.match(page.url(), /url=http/, 'the question can be sent to somebody')
  await page.getByLabel('URL').fill('http://nobody.test/')
  await page.getByRole('button', { name: 'Explain' }).click()
  await page.getByText('The client gets status 404.').waitFor()

  await page.getByRole('link', { name: 'Routes' }).click()
  await page.locator('a.cell', { hasText: 'www.yolo.org' }).click()
  await page.getByRole('heading', { name: 'Source' }).waitFor()
  assert.match(await page.locator('pre').innerText(), /host: www\.yolo\.org/)
  await page.getByRole('link', { name: 'Health' }).click()
  await page.locator('.u-over').first().waitFor()
  await page.getByRole('button', { name: 'all nodes' }).click()
  await page.getByRole('cell', { name: 'ready' }).waitFor()
})

test('a bad day: what fails now, what was meant, and requests as they end', async (t) => {
  const demo = await narthex('demo', ['--drama'])
  t.after(() => demo.stop())
  const page = await open(t, demo.admin, 'why?url=http://pay.example.com/')
  await page.getByText(/every request fails: 502 since .*connection refused by both pods/).waitFor()
  assert.equal(await page.locator('.verdict.bad-edge').count(), 1)
  assert.equal(await page.getByText('with 2 endpoints').count(), 0, 'what fails is not called answered')
  assert.match(await page.locator('.steps .why.bad').first().innerText(), /attempts? of the last minute failed/)
  await page.goto(`${demo.admin}/dashboard/#/why?url=http://ww.example.com/`)
  await page.getByRole('link', { name: 'Explain http://www.example.com/' }).click()
  await page.getByText(/www\.example\.com\/ of Ingress default\/ingress-test answers/).waitFor()
  assert.equal(await page.locator('.verdict.bad-edge').count(), 0)
  const { items } = await (await fetch(`${demo.admin}/api/v1/routes?q=pay.example.com`)).json()
  await page.goto(`${demo.admin}/dashboard/#/route/${items[0].id}`)
  await page.getByRole('button', { name: 'Show requests as they end' }).click()
  await page.getByRole('region', { name: 'Live requests' }).getByText('pay.example.com/').first().waitFor()
  await page.getByRole('button', { name: 'Stop' }).click()
})

test('nothing serious for screen readers, in light and dark, and no sideways scrolling on a phone', async (t) => {
  const demo = await narthex('demo', ['--traffic', '20'])
  t.after(() => demo.stop())
  const { items } = await (await fetch(`${demo.admin}/api/v1/routes?per_page=1`)).json()
  for (const hash of [...PAGES, `route/${items[0].id}`]) {
    for (const options of [{}, { colorScheme: 'dark' }, { viewport: { width: 360, height: 740 } }]) {
      const page = await open(t, demo.admin, hash, { ...options, bypassCSP: true })
      await page.locator('main h1').waitFor()
      await eventually('it has loaded', async () => (await page.locator('[aria-busy]').count()) === 0)
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
      assert.ok(wide <= 0, `${hash} is ${wide} px too wide with ${JSON.stringify(options)}`)
      await page.evaluate(AXE)
      const found = await page.evaluate(async () => (await globalThis.axe.run()).violations.map((one) => `${one.impact} ${one.id}: ${one.nodes[0].html}`))
      assert.deepEqual(found.filter((one) => /^(serious|critical)/.test(one)), [], `${hash} ${JSON.stringify(options)}`)
      await page.close()
    }
  }
})

test('what changes is shown while it changes', async (t) => {
  const running = await withManifests(t, service('web', 1) + ingress('web', 'a.test', '/', 'web'))
  const page = await open(t, running.admin, 'routes')
  await page.getByText('1 route', { exact: true }).waitFor()
  running.write('more.yaml', ingress('more', 'b.test', '/api', 'web') + ingress('broken', 'c.test', '/', 'nowhere'))
  await page.getByText('3 routes').waitFor()
  await page.getByText('no pod answers: 503').waitFor()
  await page.getByRole('link', { name: /Problems/ }).click()
  await page.getByRole('heading', { name: 'Ingress default/broken' }).waitFor()
  await page.getByRole('link', { name: 'Changes' }).click()
  await page.getByText('b.test/api').first().waitFor()
})

test('ten thousand routes are filtered and scrolled', async (t) => {
  let text = service('web', 1)
  for (let i = 0; i < 10_000; i++) text += ingress(`i${i}`, `h${String(i).padStart(5, '0')}.test`, '/', 'web')
  const running = await withManifests(t, text)
  const page = await open(t, running.admin, 'routes')
  await page.getByText('10,000 routes').waitFor()
  assert.ok((await page.locator('.row').count()) < 60, 'only rows in sight are drawn')
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight))
  await page.getByText('h09999.test').waitFor()
  await page.getByRole('searchbox').fill('h04711')
  await page.getByText('1 route', { exact: true }).waitFor()
  await page.getByText('h04711.test').waitFor()
  await page.getByRole('searchbox').fill('there is no such')
  await page.getByText('No matching routes').waitFor()
})

test('a dead API is said, and what was there stays', async (t) => {
  const running = await withManifests(t, service('web', 1) + ingress('web', 'a.test', '/', 'web'))
  const page = await open(t, running.admin, 'routes')
  await page.getByText('a.test').waitFor()
  running.kill()
  await page.getByText('this page shows old data').waitFor()
  assert.ok(await page.getByText('a.test').isVisible())
})

test('a token is asked for where one is needed', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'token-'))
  t.after(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'token'), 'letmein')
  const text = service('web', 1) + ingress('web', 'a.test', '/', 'web')
  const running = await withManifests(t, text, ['--admin-token-file', join(folder, 'token')])
  const page = await open(t, running.admin, 'routes')
  await page.getByLabel('Token').fill('letmein')
  await page.getByRole('button', { name: 'Enter' }).click()
  await page.getByText('a.test').first().waitFor()
})

test('a strange page cannot have it in a frame', async (t) => {
  const demo = await narthex('demo')
  t.after(() => demo.stop())
  const stranger = createServer((_, reply) => {
    reply.setHeader('content-type', 'text/html')
    reply.end(`<iframe src="${demo.admin}/dashboard/"></iframe>`)
  })
  await new Promise((done) => stranger.listen(0, '127.0.0.1', done))
  t.after(() => stranger.close())
  const context = await chromium.newContext()
  t.after(() => context.close())
  const page = await context.newPage()
  await page.goto(`http://127.0.0.1:${stranger.address().port}/`)
  const address = await eventually('the frame is refused', () => page.frames()[1]?.url())
  assert.match(address, /^chrome-error:/)
})
