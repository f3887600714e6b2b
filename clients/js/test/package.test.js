import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { buildSync } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))

test('beyond its peers the package weighs at most 4 KiB, minified and gzipped', () => {
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
  assert.ok(size <= 4096, String(size))
})

test('importing it does nothing: no window, no WebSocket, no timer is needed', () => {
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', `
    delete globalThis.WebSocket
    delete globalThis.fetch
    const { connect } = await import('./src/index.js')
    console.log(typeof connect)`], { cwd: root, encoding: 'utf8', timeout: 20_000 })
  assert.equal(out.trim(), 'function')
})

test('the tarball installs, imports and type-checks in a fresh project', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'wsnode-client-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const npm = (...args) => execFileSync('npm', args, { cwd: dir, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  const [{ filename, files }] = JSON.parse(execFileSync('npm', ['pack', '--json', '--silent', '--pack-destination', dir], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).replace(/^[^[]*/, ''))
  const names = files.map(({ path }) => path)
  assert.ok(names.includes('types/index.d.ts') && names.includes('README.md') && names.includes('LICENSE'), names.join())
  assert.ok(!names.some((name) => name.includes('test')), names.join())

  writeFileSync(join(dir, 'package.json'), JSON.stringify({ type: 'module', private: true }))
  npm('install', '--prefer-offline', '--no-audit', '--no-fund', './' + filename, 'ws@8', 'typescript@5', '@types/ws@8')
  writeFileSync(join(dir, 'app.ts'), `
    import * as Y from 'yjs'
    import { WebSocket } from 'ws'
    import { connect, type Connection, type Status } from '@wsnode/client'
    const doc = new Y.Doc()
    const connection: Connection = connect({
      regions: { eu: 'ws://127.0.0.1:9' },
      documentName: 'x',
      doc,
      strategy: 'catch',
      getToken: async ({ force, signal }) => force && signal.aborted ? null : 'token',
      WebSocketPolyfill: WebSocket
    })
    connection.subscribe((status: Status) => { if (status.state === 'stopped') console.log(status.code) })
    connection.awareness.setLocalStateField('user', { name: 'Ada' })
    const text: Y.Text = connection.provider.doc.getText('t')
    text.insert(0, 'x')
    connection.destroy()
    // @ts-expect-error: not a strategy
    connect({ regions: 'ws://127.0.0.1:9', documentName: 'x', doc, strategy: 'guess', getToken: () => null, WebSocketPolyfill: WebSocket, connect: false }).destroy()
    console.log('installed')
  `)
  execFileSync(process.execPath, [join(dir, 'node_modules/typescript/bin/tsc'), '--module', 'nodenext', '--target', 'es2022', '--strict', '--skipLibCheck', 'app.ts'], { cwd: dir, encoding: 'utf8' })
  assert.equal(execFileSync(process.execPath, ['app.js'], { cwd: dir, encoding: 'utf8', timeout: 20_000 }).trim(), 'installed')
})
