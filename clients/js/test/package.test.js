import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { buildSync } from 'esbuild'
import { Region } from './region.js'

const root = fileURLToPath(new URL('..', import.meta.url))

test('beyond its peers the package weighs at most 5 KiB, minified and gzipped', () => {
  const { outputFiles: [bundle] } = buildSync({
    entryPoints: [join(root, 'src/index.js')],
    bundle: true,
    minify: true,
    format: 'esm',
    write: false,
    external: ['yjs', 'y-websocket']
  })
  const size = gzipSync(bundle.contents, { level: 9 }).length
  console.log(`${size} bytes`)
  assert.ok(size <= 5120, String(size))
})

test('importing it does nothing: no window, no WebSocket, no timer is needed', () => {
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', `
    delete globalThis.WebSocket
    delete globalThis.fetch
    const { connect } = await import('./src/index.js')
    console.log(typeof connect)`], { cwd: root, encoding: 'utf8', timeout: 120_000 })
  assert.equal(out.trim(), 'function')
})

test('the tarball installs, type-checks and connects in a fresh project', { timeout: 590_000 }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'wsnode-client-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const region = await new Region('eu').start()
  t.after(() => region.kill())
  const run = async (cwd, ...command) => (await promisify(execFile)(command[0], command.slice(1),
    { cwd, encoding: 'utf8', timeout: 300_000, env: { ...process.env, REGION: region.url } })).stdout
  const packed = await run(root, 'npm', 'pack', '--json', '--silent', '--pack-destination', dir)
  const [{ filename, files }] = JSON.parse(packed.replace(/^[^[]*/, ''))
  const names = files.map(({ path }) => path)
  assert.ok(names.includes('types/index.d.ts') && names.includes('README.md') && names.includes('LICENSE'), names.join())
  assert.ok(!names.some((name) => name.includes('test')), names.join())

  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(root, 'test/tarball', name), join(dir, name))
  await run(dir, 'npm', 'ci', '--prefer-offline', '--no-audit', '--no-fund')
  await run(dir, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', '--no-package-lock', './' + filename)
  writeFileSync(join(dir, 'app.ts'), `
    import * as Y from 'yjs'
    import { WebSocket } from 'ws'
    import { connect, type Connection, type Status } from '@wsnode/client'
    const doc = new Y.Doc()
    const connection: Connection = connect({
      regions: { eu: process.env.REGION! },
      documentName: 'x',
      doc,
      getToken: async ({ force, signal }) => force && signal.aborted ? null : 'token',
      WebSocketPolyfill: WebSocket
    })
    connection.subscribe((status: Status) => { if (status.state === 'stopped') console.log(status.code) })
    connection.awareness.setLocalStateField('user', { name: 'Ada' })
    // @ts-expect-error: nothing that is any
    connection.awareness.setLocalStateField(7)
    await connection.whenSynced()
    const text: Y.Text = connection.provider.doc.getText('t')
    text.insert(0, 'installed')
    connection.destroy()
    // @ts-expect-error: not a strategy
    connect({ regions: 'ws://127.0.0.1:9', documentName: 'x', doc, strategy: 'guess', getToken: () => null, WebSocketPolyfill: WebSocket, connect: false }).destroy()
  `)
  await run(dir, process.execPath, 'node_modules/typescript/bin/tsc', '--module', 'nodenext', '--target', 'es2022', '--strict', '--skipLibCheck', '--types', 'node', 'app.ts')
  await run(dir, process.execPath, 'app.js')
  while (region.rooms.get('x').doc.getText('t').toString() !== 'installed') await new Promise((resolve) => setTimeout(resolve, 10))
})
