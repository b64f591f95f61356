import { gzipSync } from 'node:zlib'
import { defineConfig, type Plugin } from 'vite'

const LIMIT = 200 * 1024

/** Puts a packed file beside each asset, for the binary to embed, and fails where all of them are too much. */
function packed(): Plugin {
  return {
    name: 'packed',
    generateBundle(_, bundle) {
      let total = 0
      for (const [name, file] of Object.entries(bundle)) {
        const text = file.type === 'chunk' ? file.code : file.source
        const bytes = gzipSync(text, { level: 9 })
        total += bytes.length
        this.emitFile({ type: 'asset', fileName: `${name}.gz`, source: bytes })
      }
      if (total > LIMIT) this.error(`the dashboard takes ${total} bytes packed; ${LIMIT} is the most`)
    },
  }
}

export default defineConfig({
  base: '/dashboard/',
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  plugins: [packed()],
})
