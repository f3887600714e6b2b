import { test } from 'node:test'
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'

const root = fileURLToPath(new URL('..', import.meta.url))
const files = (dir) => readdirSync(dir, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1))
  .sort()

test('the committed build is the build of the sources', async (t) => {
  const outDir = mkdtempSync(join(tmpdir(), 'wsnode-playground-'))
  t.after(() => rmSync(outDir, { recursive: true }))
  await build({ root, logLevel: 'warn', build: { outDir, emptyOutDir: true } })
  const dist = join(root, 'dist')
  assert.deepEqual(files(outDir), files(dist))
  for (const name of files(dist)) {
    assert.ok(readFileSync(join(outDir, name)).equals(readFileSync(join(dist, name))),
      `${name} is not what the sources make: npm run build, and commit dist`)
  }
})
