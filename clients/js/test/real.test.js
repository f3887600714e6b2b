import { test } from 'node:test'
import assert from 'node:assert/strict'
import 'fake-indexeddb/auto'
import { WebSocket } from 'ws'
import { IndexeddbPersistence } from 'y-indexeddb'
import * as Y from 'yjs'
import { connect } from '../src/index.js'
import { frames, jwt } from './lab.js'
import { Region } from './region.js'

/** @param {() => any} check */
const until = async (check, what = check.toString()) => {
  const deadline = Date.now() + 120_000
  for (;;) {
    const value = check()
    if (value) return value
    if (Date.now() > deadline) throw new Error('in vain: ' + what)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

const twoRegions = async (t) => {
  const pins = new Map()
  const eu = await new Region('eu', pins).start()
  const us = await new Region('us', pins).start()
  t.after(() => Promise.all([eu.kill(), us.kill()]))
  return { eu, us, pins, regions: { eu: eu.url, us: us.url } }
}

const client = (t, options) => {
  const doc = options.doc ?? new Y.Doc()
  const connection = connect({ documentName: 'todo', doc, getToken: () => jwt(), WebSocketPolyfill: WebSocket, ...options })
  t.after(() => doc.destroy())
  return Object.assign(connection, { text: doc.getText('t') })
}

test('the y-websocket under test is the one that was asked for', async (t) => {
  const { regions } = await twoRegions(t)
  const { provider } = client(t, { regions, connect: false })
  assert.equal('shouldReconnect' in provider, !process.execArgv.join().includes('y-websocket-2'))
})

for (const strategy of ['discovery', 'catch']) {
  test(`${strategy}: clients that prefer different regions meet in one`, async (t) => {
    const { eu, us, regions } = await twoRegions(t)
    const ada = client(t, { regions, strategy, getToken: () => jwt({ regionCode: 'us' }) })
    await ada.whenSynced()
    const bob = client(t, { regions, strategy, getToken: () => jwt({ regionCode: 'eu' }) })
    await bob.whenSynced()
    ada.text.insert(0, 'Hello')
    await until(() => bob.text.toString() === 'Hello')
    assert.equal(bob.status.region, 'us')
    assert.equal(eu.handshakes, strategy === 'catch' ? 1 : 0)
    assert.equal(us.handshakes, 2)
  })
}

test('a document that moves takes its editors along: same document, same undo history, cursors back', async (t) => {
  const { eu, us, regions } = await twoRegions(t)
  const ada = client(t, { regions })
  const bob = client(t, { regions })
  await Promise.all([ada.whenSynced(), bob.whenSynced()])
  const undo = new Y.UndoManager(ada.text)
  ada.awareness.setLocalStateField('user', { name: 'Ada' })
  const name = () => bob.awareness.getStates().get(ada.doc.clientID)?.user?.name
  ada.text.insert(0, 'before ')
  await until(() => bob.text.toString() === 'before ' && name() === 'Ada')
  eu.move('todo', us)
  bob.text.insert(7, 'after')
  await until(() => ada.status.region === 'us' && bob.status.region === 'us' && ada.text.toString() === 'before after')
  await until(() => name() === 'Ada')
  undo.undo()
  await until(() => bob.text.toString() === 'after')
})

test('a region that dies is left for another; what was typed meanwhile arrives', async (t) => {
  const { eu, us, pins, regions } = await twoRegions(t)
  const ada = client(t, { regions, strategy: 'discovery' })
  const bob = client(t, { regions, strategy: 'catch' })
  await Promise.all([ada.whenSynced(), bob.whenSynced()])
  pins.clear()
  await eu.kill()
  ada.text.insert(0, 'offline ')
  await until(() => ada.status.region === 'us' && ada.status.state === 'synced' && bob.status.region === 'us')
  bob.text.insert(0, 'online ')
  await until(() => ada.text.length === 15 && bob.text.toString() === ada.text.toString())
  await eu.start(eu.port)
})

test('a token that runs out is replaced at the next handshake', async (t) => {
  const { eu, regions } = await twoRegions(t)
  const good = new Set(['one'])
  eu.refuse = (url, token) => good.has(token) ? undefined : [4002, 'Invalid token: expired']
  const forced = []
  const ada = client(t, { regions, strategy: 'catch', getToken: ({ force }) => { forced.push(force); return force ? 'two' : 'one' } })
  await ada.whenSynced()
  good.clear()
  good.add('two')
  for (const socket of eu.wss.clients) socket.terminate()
  await until(() => ada.status.state !== 'synced')
  await ada.whenSynced()
  assert.deepEqual(forced, [false, true])
})

test('an offline start from y-indexeddb: edits are there at once and go up when the network is', async (t) => {
  const { eu, us, regions, pins } = await twoRegions(t)
  const first = new Y.Doc()
  const stored = new IndexeddbPersistence('todo', first)
  first.getText('t').insert(0, 'yesterday ')
  await stored.whenSynced
  await stored.destroy()
  first.destroy()

  const ports = [eu.port, us.port]
  await Promise.all([eu.kill(), us.kill()])
  const doc = new Y.Doc()
  const ada = client(t, { regions, doc })
  const persistence = new IndexeddbPersistence('todo', doc)
  t.after(() => persistence.destroy())
  await persistence.whenSynced
  assert.equal(ada.text.toString(), 'yesterday ')
  ada.text.insert(10, 'today')
  await until(() => ada.status.state === 'waiting')
  await eu.start(ports[0])
  await us.start(ports[1])
  await ada.whenSynced()
  const home = pins.get('todo')
  await until(() => home.rooms.get('todo')?.doc.getText('t').toString() === 'yesterday today')
})

test('BroadcastChannel is off unless asked for', async (t) => {
  const { regions } = await twoRegions(t)
  const ada = client(t, { regions })
  await ada.whenSynced()
  assert.equal(ada.provider.bcconnected, false)
})

test('BroadcastChannel merges tabs of one tenant and keeps two tenants apart', async (t) => {
  // Two deployments, so that what passes between the tabs did not come through a server.
  const [{ regions: a }, { regions: b }, { regions: c }] = [await twoRegions(t), await twoRegions(t), await twoRegions(t)]
  const tab = (regions, tenantId) => client(t, { regions, broadcastChannel: true, getToken: () => jwt({ tenantId }) })
  const one = tab(a, 'acme')
  const two = tab(b, 'acme')
  const other = tab(c, 'umbrella')
  await Promise.all([one, two, other].map((connection) => connection.whenSynced()))
  one.text.insert(0, 'ours')
  await until(() => two.text.toString() === 'ours')
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.equal(other.text.toString(), '')
  assert.equal(other.awareness.getStates().size, 1)
})

test('BroadcastChannel is joined once the server has said yes, and left when it says no', async (t) => {
  const [{ regions: a, eu }, { regions: b }] = [await twoRegions(t), await twoRegions(t)]
  const tab = (regions) => client(t, { regions, broadcastChannel: true, strategy: 'catch' })
  eu.refuse = () => [4003, 'Forbidden: document']
  const refused = tab(a)
  refused.text.insert(0, 'forged ')
  await assert.rejects(refused.whenSynced(), { code: 4003 })
  const other = tab(b)
  await other.whenSynced()
  assert.equal(refused.provider.bcconnected, false)

  eu.refuse = () => undefined
  refused.connect()
  await refused.whenSynced()
  await until(() => other.text.toString() === 'forged ')
  for (const socket of eu.wss.clients) socket.close(4403, 'ended by the operator')
  await until(() => refused.status.state === 'stopped')
  assert.equal(refused.provider.bcconnected, false)
  other.text.insert(0, 'secret ')
  assert.equal(refused.text.toString(), 'forged ')
})

test('a session that may only read shares nothing over BroadcastChannel', async (t) => {
  const { regions } = await twoRegions(t)
  const reader = client(t, { regions, broadcastChannel: true, getToken: () => jwt({ access: 'readonly' }) })
  await reader.whenSynced()
  assert.equal(reader.provider.bcconnected, false)
  const late = client(t, { regions, broadcastChannel: true })
  await late.whenSynced()
  assert.equal(late.provider.bcconnected, true)
  late.provider.ws.onmessage({ data: frames.denied.slice().buffer })
  assert.deepEqual([late.status.readOnly, late.provider.bcconnected], [true, false])
})

test('without claims there is no scope, and no BroadcastChannel', async (t) => {
  const { regions } = await twoRegions(t)
  const ada = client(t, { regions, broadcastChannel: true, getToken: () => 'opaque' })
  await ada.whenSynced()
  assert.equal(ada.provider.bcconnected, false)
})

test('names arrive as they are', async (t) => {
  const { regions, pins } = await twoRegions(t)
  for (const documentName of ['größe 1', 'a/b', 'c++', 'a?b', 'a#b', '50%', 'a/../b', 'a//b', 'x'.repeat(255)]) {
    const ada = client(t, { regions, documentName, strategy: 'catch' })
    await ada.whenSynced()
    assert.ok(pins.has(documentName), documentName)
    ada.destroy()
  }
})

test('a Node process that destroys its connection ends', async (t) => {
  const { regions } = await twoRegions(t)
  const { execFile } = await import('node:child_process')
  const script = `
    import * as Y from 'yjs'
    import { WebSocket } from 'ws'
    import { connect } from ${JSON.stringify(new URL('../src/index.js', import.meta.url).href)}
    const doc = new Y.Doc()
    const connection = connect({ regions: ${JSON.stringify(regions)}, documentName: 'x', doc, getToken: () => 't', WebSocketPolyfill: WebSocket })
    await connection.whenSynced()
    connection.destroy()
    console.log('bye')`
  const out = await new Promise((resolve, reject) => {
    execFile(process.execPath, [...process.execArgv.filter((arg) => !arg.startsWith('--test')), '--input-type=module', '-e', script],
      { cwd: new URL('..', import.meta.url), timeout: 300_000 }, (error, stdout) => error ? reject(error) : resolve(stdout))
  })
  assert.equal(out.trim(), 'bye')
})
