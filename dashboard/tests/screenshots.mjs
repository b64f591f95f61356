// Pictures of the real pages, for the README and docs/img (`make screenshots`).

import { mkdirSync } from 'node:fs'
import { browser, eventually, narthex } from './rig.mjs'

const folder = new URL('../../docs/img/', import.meta.url).pathname
mkdirSync(folder, { recursive: true })
const demo = await narthex('demo', ['--traffic', '50'])
const chromium = await browser()
const { items } = await (await fetch(`${demo.admin}/api/v1/routes?per_page=1`)).json()
// Charts of less than this show nothing.
await eventually('half a minute of traffic', async () => {
  const { traffic } = await (await fetch(`${demo.admin}/api/v1/overview`)).json()
  return traffic.spark.filter((value) => value > 0).length >= 30
}, 60)
for (const [name, hash, options] of [
  ['routes', 'routes', {}],
  ['routes-dark', 'routes', { colorScheme: 'dark' }],
  ['route', `route/${items[0].id}`, {}],
  ['why', 'why?url=http%3A%2F%2Fwww.example.com%2Ffoo', {}],
  ['health', 'health', {}],
]) {
  const context = await chromium.newContext({ viewport: { width: 1180, height: name === 'routes' || name === 'routes-dark' ? 400 : 860 }, ...options })
  const page = await context.newPage()
  await page.goto(`${demo.admin}/dashboard/#/${hash}`)
  await page.locator('main h1').waitFor()
  // The stream brings a point a second.
  await new Promise((done) => setTimeout(done, name === 'health' ? 20_000 : 2500))
  await page.screenshot({ path: `${folder}${name}.png` })
  await context.close()
}
await chromium.close()
await demo.stop()
