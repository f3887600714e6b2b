/**
 * Runs every snippet of docs/clients.md: editors in Chromium, scripts in Node.
 */
import { after, before, test } from 'node:test'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { launch, toEnd, visitors } from './lib/browser.js'
import { daemon, freePort, root, startDev } from './lib/cluster.js'
import { limit, patience } from './lib/patience.js'
import { startSite } from './lib/site.js'
import { installed, placed, snippets, strays } from './lib/snippets.js'

const here = join(root, 'test/browser')
let cluster
let browser
before(async () => { [cluster, browser] = await Promise.all([startDev(), launch()]) })
after(() => Promise.all([cluster?.stop(), browser?.close()]))

const ran = new Set(['open.js'])
let tenants = 0

/** A site that shows a snippet; its visitors are of a tenant of their own. */
const show = async (t, name, { code = placed(snippets[name], cluster), parameters = {}, modules } = {}) => {
  ran.add(name)
  const tenant = 'docs-' + ++tenants
  const site = await startSite({
    code,
    open: placed(snippets['open.js'], cluster),
    modules,
    token: () => cluster.token({ tenant, ...parameters })
  })
  t.after(site.close)
  return { ...site, tenant }
}

/** Another client of the same document. */
const colleague = async (t, tenant, documentName = 'minutes') => {
  const { connect } = await import('../../clients/js/src/index.js')
  const { WebSocket } = await import('ws')
  const Y = await import(pathTo('yjs/dist/yjs.mjs'))
  const connection = connect({
    regions: Object.fromEntries(Object.entries(cluster.hosts).map(([name, host]) => [name, 'ws://' + host])),
    documentName,
    doc: new Y.Doc(),
    getToken: () => cluster.token({ tenant }),
    WebSocketPolyfill: WebSocket
  })
  t.after(connection.destroy)
  await connection.whenSynced()
  return connection
}
// The sources' own Yjs: two of them in one process do not know each other's types.
const pathTo = (path) => join(root, 'clients/js/node_modules', path)

const editors = {
  tiptap: { area: '.ProseMirror', caret: true },
  tiptap2: { area: '.ProseMirror', caret: true, modules: join(here, 'tiptap2') },
  codemirror: { area: '.cm-content', caret: true },
  monaco: { area: '.monaco-editor .view-lines' },
  quill: { area: '.ql-editor', caret: true },
  lexical: { area: '[contenteditable]', caret: true }
}
for (const [name, { area, caret, modules }] of Object.entries(editors)) {
  test(`${name}: two people type into one document`, limit, async (t) => {
    const site = await show(t, name, { modules })
    const visit = visitors(t, browser)
    const [ada, bob] = [await visit(site.url), await visit(site.url)]
    const write = async (page, text) => {
      const editor = page.locator('#editor ' + area).first()
      await editor.click({ position: { x: 5, y: 5 } })
      if (caret) await toEnd(editor)
      else await page.keyboard.press('Control+End') // its area is not what has the focus
      await page.keyboard.type(text, { delay: 5 })
    }
    const shows = (page, text) => page.waitForFunction(
      // Without the cursors that lie in the text.
      ([area, text]) => document.querySelector('#editor ' + area).textContent
        .replaceAll('\u00a0', ' ').replace(/[\u2060\ufeff]|Ada/g, '').includes(text),
      [area, text])
    await write(ada, 'Hello ')
    await shows(bob, 'Hello')
    await write(bob, 'world ')
    await Promise.all([shows(ada, 'Hello world'), shows(bob, 'Hello world')])
    if (caret) await ada.getByText('Ada', { exact: true }).first().waitFor({ state: 'attached' })
    // Nobody's undo takes back the other's words. Yjs takes edits of half a second for one step; this is a new one.
    await ada.waitForTimeout(700)
    await write(ada, '!')
    await shows(bob, '!')
    await ada.keyboard.press('Control+z')
    await bob.waitForFunction((area) => !document.querySelector('#editor ' + area).textContent.includes('!'), area)
    await Promise.all([shows(ada, 'world'), shows(bob, 'world')])
  })
}

test('react: StrictMode mounts twice, and one connection comes of it', limit, async (t) => {
  const site = await show(t, 'react')
  const visit = visitors(t, browser)
  const sockets = []
  const page = await visit('about:blank')
  page.on('websocket', (socket) => sockets.push(socket.url()))
  await page.goto(site.url)
  await page.getByText('Connected to').waitFor()
  assert.equal(sockets.length, 1)
})

test('message: what the user reads', limit, async (t) => {
  const visit = visitors(t, browser, { tolerate: /status of 40[13]/ })
  const read = async (parameters, pattern) => {
    const site = await show(t, 'message', { parameters })
    const page = await visit(site.url)
    await page.getByText(pattern).waitFor()
  }
  await read({ dbCode: 'aws-nowhere-1' }, 'You have no access to this document.')
  await read({ ttl: '-120s' }, 'Please sign in again.')
  await read({ access: 'readonly' }, 'You can read, but not change this document.')
})

test('offline: the content is there without any server', limit, async (t) => {
  const site = await show(t, 'offline')
  const visit = visitors(t, browser, { tolerate: /./ })
  const page = await visit('about:blank')
  let away = false
  await page.route('**/api/sync-token', (route) => away ? route.abort() : route.continue())
  const bob = await colleague(t, site.tenant)
  bob.doc.getText('text').insert(0, 'stored')
  // Nothing tells from outside when the browser has stored it.
  for (let i = 1, text = ''; !text.includes('stored'); i++) {
    assert.ok(i < 20, 'nothing was stored')
    away = false
    await page.goto(site.url)
    await page.waitForTimeout(i * 1000) // longer each time: the machine may be slow
    away = true
    await page.reload()
    await page.waitForTimeout(i * 500)
    text = await page.locator('#editor').textContent()
  }
})

test('plain y-websocket: discovery, then redirects', limit, async (t) => {
  const site = await show(t, 'plain')
  const bob = await colleague(t, site.tenant)
  bob.doc.getText('text').insert(0, 'good morning')
  const page = await visitors(t, browser)(site.url)
  await page.getByText('good morning').waitFor()
})

/** A folder in which Node finds the packages, and the client. */
const project = (t, files) => {
  const dir = mkdtempSync(join(tmpdir(), 'wsnode-docs-'))
  t.after(() => rmSync(dir, { recursive: true }))
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}')
  symlinkSync(join(root, 'clients/js/node_modules'), join(dir, 'node_modules'))
  for (const [name, code] of Object.entries(files)) {
    writeFileSync(join(dir, name), code.replace("'@wsnode/client'", JSON.stringify(join(root, 'clients/js/src/index.js'))))
  }
  return dir
}
const node = (dir, file, env = {}) => {
  const child = spawn(process.execPath, [file], { cwd: dir, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.on('data', (data) => { out += data })
  const ended = new Promise((resolve, reject) => child.once('exit', (code) => code ? reject(new Error(`${file}: ${code}`)) : resolve(out)))
  return { child, ended }
}

/** @param {() => boolean} check */
const until = async (check) => {
  for (const deadline = Date.now() + patience; !check();) {
    assert.ok(Date.now() < deadline, 'in vain: ' + check)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

test('node: a script joins, writes and ends', limit, async (t) => {
  ran.add('node')
  const bob = await colleague(t, 'docs-node')
  const dir = project(t, { 'app.js': placed(snippets.node, cluster) })
  const out = await node(dir, 'app.js', { SYNC_TOKEN: await cluster.token({ tenant: 'docs-node' }) }).ended
  assert.equal(out, 'from a script\n\n')
  await until(() => bob.doc.getText('text').toString() === 'from a script\n')
})

test('keeper: a document outlives everybody who edited it', limit, async (t) => {
  ran.add('keeper')
  const Y = await import(pathTo('yjs/dist/yjs.mjs'))
  const dir = project(t, { 'keeper.js': snippets.keeper })
  const { keep } = await import(join(dir, 'keeper.js'))
  const database = new Map()
  const backend = (tenant) => ({
    regions: Object.fromEntries(Object.entries(cluster.hosts).map(([name, host]) => [name, 'ws://' + host])),
    getToken: () => cluster.token({ tenant }),
    load: async (name) => database.get(name),
    save: async (name, bytes) => { database.set(name, bytes) }
  })
  // Another tenant has the document's second life, which is as empty as one after the grace period.
  const leave = await keep('minutes', backend('docs-keeper-1'))
  const ada = await colleague(t, 'docs-keeper-1')
  ada.doc.getText('text').insert(0, 'kept')
  await until(() => { // saved a second after the change
    const saved = new Y.Doc()
    if (database.has('minutes')) Y.applyUpdate(saved, database.get('minutes'))
    return saved.getText('text').toString() === 'kept'
  })
  await leave()
  const leaveAgain = await keep('minutes', backend('docs-keeper-2'))
  const bob = await colleague(t, 'docs-keeper-2')
  await until(() => bob.doc.getText('text').toString() === 'kept')
  await leaveAgain()
})

test('tokens: a backend signs, a node accepts', limit, async (t) => {
  ran.add('tokens')
  const [port, listen] = [await freePort(), await freePort(2)]
  const dir = project(t, {})
  rmSync(join(dir, 'node_modules'))
  symlinkSync(join(here, 'node_modules'), join(dir, 'node_modules'))
  writeFileSync(join(dir, 'app.js'), snippets.tokens)
  const backend = node(dir, 'app.js', { PORT: String(port) })
  backend.ended.catch(() => {})
  t.after(() => backend.child.kill())
  while (!await fetch(`http://127.0.0.1:${port}/.well-known/jwks.json`).catch(() => null)) {
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const server = await daemon(['serve', '--standalone', '--single-region', '--region', 'eu-central-1',
    '--public-url', `ws://127.0.0.1:${listen}`, '--listen', `127.0.0.1:${listen}`,
    '--jwks-url', `http://127.0.0.1:${port}/.well-known/jwks.json`, '--log-format', 'json'], /"msg":"ready"/)
  t.after(server.stop)
  const token = await (await fetch(`http://127.0.0.1:${port}/token`)).text()
  const ask = (name) => fetch(`http://127.0.0.1:${listen}/discovery?documentName=${name}`, { headers: { Authorization: 'Bearer ' + token } })
  assert.equal((await ask('minutes')).status, 200)
  assert.equal((await ask('handbook/one')).status, 200)
  assert.equal((await ask('secrets')).status, 403)
})

test('every snippet ran, and every package it needs is named', () => {
  assert.deepEqual(strays, [])
  assert.deepEqual(Object.keys(snippets).filter((name) => !ran.has(name)), [])
  const imported = Object.entries(snippets).filter(([name]) => !['tiptap2', 'node', 'keeper', 'tokens', 'offline'].includes(name))
    .flatMap(([, code]) => [...code.matchAll(/from '([^.'][^']*)'/g)].map(([, name]) => name))
    .map((name) => /^(@[^/]+\/)?[^/]+/.exec(name)[0])
  assert.deepEqual([...new Set(imported)].filter((name) => !installed.includes(name)), [])
  for (const name of installed) assert.ok(name === '@wsnode/client' || existsSync(join(here, 'node_modules', name)), name)
})
