import { mock, test } from 'node:test'
import assert from 'node:assert/strict'
import * as Y from 'yjs'
import { createDecoder, readVarUint, readVarUint8Array } from 'lib0/decoding'
import { connect } from '../src/index.js'
import { pathOf } from '../src/regions.js'
import { frames, jwt, lab, settle } from './lab.js'

/** A page that may be hidden, for the time of a test. */
const tab = (t) => {
  const page = Object.assign(new EventTarget(), { visibilityState: 'visible' })
  globalThis.document = page
  t.after(() => { delete globalThis.document })
  return page
}

/** An update of a client that wrote one letter. @param {number} client */
const insertBy = (client) => {
  const doc = new Y.Doc()
  doc.clientID = client
  doc.getText('t').insert(0, 'x')
  return Y.encodeStateAsUpdate(doc)
}

const found = (region, isNew = false) => [200, { region, url: `wss://${region}.example/todo`, isNew }]

test('discovery asks the region of the token first and connects where it says', async (t) => {
  const l = lab(t, { strategy: 'discovery', getToken: () => jwt({ regionCode: 'us' }) }, () => found('ap'))
  await l.pass(0)
  assert.deepEqual(l.asked, ['https://us.example/discovery?documentName=todo'])
  assert.equal(l.socket.url, 'wss://ap.example/todo')
  assert.equal(l.connection.status.region, 'ap')
  l.socket.sync()
  assert.equal(l.connection.status.state, 'synced')
})

test('discovery sends the token as a header, the socket as a subprotocol, never in a URL', async (t) => {
  let header
  const l = lab(t, { strategy: 'discovery', getToken: () => 'a.b.c' }, (url, init) => {
    header = init.headers.Authorization
    return found('eu')
  })
  await l.pass(0)
  assert.equal(header, 'Bearer a.b.c')
  assert.deepEqual(l.socket.protocols, ['access_token', 'a.b.c'])
  assert.ok(!l.socket.url.includes('a.b.c') && !l.asked[0].includes('a.b.c'))
})

test('catch connects to the region of the token, or to the first', async (t) => {
  const near = lab(t, { getToken: () => jwt({ regionCode: 'ap' }) })
  await near.pass(0)
  assert.deepEqual(near.hosts(), ['ap.example'])
})

test('a regionCode that the app does not know is ignored', async (t) => {
  const l = lab(t, { getToken: () => jwt({ regionCode: 'aws-eu-west-1' }) })
  await l.pass(0)
  assert.deepEqual(l.hosts(), ['eu.example'])
})

for (const [status, code] of [[400, 4007], [403, 4003]]) {
  test(`discovery's ${status} is final`, async (t) => {
    const l = lab(t, { strategy: 'discovery' }, () => [status, { error: 'x', message: 'because' }])
    await l.pass(0)
    await l.pass(10 * 60_000)
    assert.equal(l.asked.length, 1)
    assert.equal(l.sockets.length, 0)
    const { state, code: shown, reason } = l.connection.status
    assert.deepEqual([state, shown, reason], ['stopped', code, 'because'])
  })
}

test('discovery that fails everywhere is tried again, no sooner than Retry-After says', async (t) => {
  const l = lab(t, { strategy: 'discovery' }, () => [503, {}, { 'Retry-After': '7' }])
  await l.pass(0)
  assert.equal(l.connection.status.state, 'waiting')
  assert.equal(l.connection.status.retryAt - Date.now(), 7000)
  await l.pass(6999)
  assert.equal(l.asked.length, 3)
  await l.pass(1)
  assert.equal(l.asked.length, 6)
})

test('no Retry-After makes a client wait for longer than ten minutes', async (t) => {
  for (const seconds of ['86400', '9999999999']) {
    const l = lab(t, { strategy: 'discovery' }, () => [503, {}, { 'Retry-After': seconds }])
    await l.pass(0)
    assert.equal(l.connection.status.retryAt - Date.now(), 600_000)
    await l.pass(60_000)
    assert.equal(l.asked.length, 3)
    mock.timers.reset()
  }
})

test('discovery that does not answer is given up after 5 s', async (t) => {
  const hang = (url, { signal }) => new Promise((resolve, reject) => {
    if (url.includes('us.')) return resolve(Response.json({ url: 'wss://us.example/todo' }))
    signal.addEventListener('abort', () => reject(signal.reason))
  })
  const l = lab(t, { strategy: 'discovery', fetch: hang })
  await l.pass(0)
  await l.pass(4999)
  assert.equal(l.sockets.length, 0)
  await l.pass(1)
  assert.deepEqual(l.hosts(), ['us.example'])
})

test('when discovery keeps naming a region that is down, the next one is tried directly', async (t) => {
  const l = lab(t, { strategy: 'discovery' }, () => found('us'))
  await l.pass(0)
  l.socket.end(1006)
  await l.pass(400)
  l.socket.end(1006)
  await l.pass(800)
  assert.deepEqual(l.hosts(), ['us.example', 'ap.example', 'us.example'])
  assert.equal(l.asked.length, 2)
})

test('catch goes round all regions when they are down', async (t) => {
  const l = lab(t)
  await l.pass(0)
  for (const wait of [400, 800, 1600]) {
    l.socket.end(1006)
    await l.pass(wait)
  }
  assert.deepEqual(l.hosts(), ['eu.example', 'us.example', 'ap.example', 'eu.example'])
})

test('a socket that does not open within 10 s counts as down', async (t) => {
  const l = lab(t)
  await l.pass(0)
  await l.pass(10_000)
  await l.pass(400)
  assert.deepEqual(l.hosts(), ['eu.example', 'us.example'])
})

test('a socket that opened in time is left alone', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.open()
  await l.pass(10_000)
  assert.equal(l.socket.readyState, 1)
})

test('a region that has no room gets a second chance, then the next one is tried', async (t) => {
  const l = lab(t)
  await l.pass(0)
  for (const wait of [1000, 2000]) {
    l.socket.refuse(1013, 'Try again later')
    await l.pass(wait)
  }
  assert.deepEqual(l.hosts(), ['eu.example', 'eu.example', 'us.example'])
})

test('a session that was lost comes back to its region first', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.refuse(4009, 'REDIRECT:wss://ap.example/todo')
  await l.pass(0)
  l.socket.sync()
  await l.pass(60_000)
  l.socket.end(1006)
  await l.pass(400)
  assert.deepEqual(l.hosts(), ['eu.example', 'ap.example', 'ap.example'])
})

test('4009 long after the first connect keeps document, awareness and provider', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  const { provider, awareness } = l.connection
  awareness.setLocalStateField('user', { name: 'Ada' })
  l.doc.getText('t').insert(0, 'kept')
  await l.pass(3 * 3600_000)
  l.socket.end(4009, 'REDIRECT:wss://us.example/todo')
  await l.pass(0)
  l.socket.sync()
  assert.equal(l.socket.url, 'wss://us.example/todo')
  assert.equal(l.connection.provider, provider)
  assert.equal(l.connection.awareness, awareness)
  assert.deepEqual(awareness.getLocalState(), { user: { name: 'Ada' } })
  assert.equal(l.doc.getText('t').toString(), 'kept')
  assert.ok(l.socket.sent.some((frame) => frame[0] === 1), 'the awareness state goes to the new region')
})

test('destroy during getToken opens nothing, and tells getToken', async (t) => {
  let give, signal
  const l = lab(t, { getToken: (request) => { signal = request.signal; return new Promise((resolve) => { give = resolve }) } })
  await l.pass(0)
  l.connection.destroy()
  assert.ok(signal.aborted)
  give(jwt())
  await settle()
  await l.pass(60_000)
  assert.equal(l.sockets.length, 0)
  assert.equal(l.connection.status.state, 'closed')
})

test('destroy during discovery opens nothing', async (t) => {
  let give
  const l = lab(t, { strategy: 'discovery', fetch: () => new Promise((resolve) => { give = resolve }) })
  await l.pass(0)
  l.connection.destroy()
  give(Response.json({ url: 'wss://eu.example/todo' }))
  await settle()
  await l.pass(60_000)
  assert.equal(l.sockets.length, 0)
})

test('a listener may destroy the connection at any point', async (t) => {
  for (const last of ['connecting', 'synced', 'waiting']) {
    const l = lab(t)
    l.connection.subscribe(({ state, region }) => { if (state === last && (region || last !== 'connecting')) l.connection.destroy() })
    await l.pass(0)
    l.socket?.sync()
    l.socket?.end(1006)
    await l.pass(60_000)
    assert.ok(l.sockets.length < 2, last)
    assert.equal(l.connection.status.state, 'closed')
    mock.timers.reset()
  }
})

test('StrictMode: mounted twice, one token, one socket, no ghost', async (t) => {
  const l = lab(t, { connect: false })
  const doc = new Y.Doc()
  let calls = 0
  const mount = () => connect({
    regions: 'wss://eu.example',
    documentName: 'todo',
    doc,
    strategy: 'catch',
    getToken: () => { calls++; return jwt() },
    WebSocketPolyfill: l.connection.provider._WS
  })
  const first = mount()
  first.awareness.setLocalStateField('user', { name: 'ghost' })
  first.destroy()
  const second = mount()
  await l.pass(0)
  l.socket.sync()
  assert.equal(calls, 1)
  assert.equal(l.sockets.length, 1)
  assert.equal(second.status.state, 'synced')
  assert.equal(first.status.state, 'closed')
  assert.equal(first.awareness.getStates().size, 0)
  doc.destroy() // as React apps also do
  assert.equal(second.status.state, 'closed')
  await l.pass(60_000)
  assert.equal(l.sockets.length, 1)
})

test('provider.disconnect, connect and destroy are those of the connection', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  l.connection.provider.disconnect()
  assert.equal(l.connection.status.state, 'closed')
  await l.pass(60_000)
  assert.equal(l.sockets.length, 1)
  l.connection.provider.connect()
  await l.pass(0)
  l.socket.sync()
  assert.equal(l.connection.status.state, 'synced')
  l.connection.provider.destroy()
  l.connection.connect()
  await l.pass(60_000)
  assert.equal(l.sockets.length, 2)
  assert.equal(l.connection.status.state, 'closed')
})

test("the provider's watchdog (30 s of silence, a machine that slept) ends in a new connection", async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  l.connection.provider.wsLastMessageReceived = 0
  await l.pass(3000)
  assert.equal(l.connection.status.state, 'waiting')
  await l.pass(400)
  assert.deepEqual(l.hosts(), ['eu.example', 'eu.example'])
})

test('a tab that wakes up tries at once, unless the server asked it to wait', async (t) => {
  const page = tab(t)
  page.visibilityState = 'hidden'
  const l = lab(t, { regions: 'wss://only.example' })
  const wake = async (state) => {
    page.visibilityState = state
    page.dispatchEvent(new Event('visibilitychange'))
    await l.pass(0)
  }
  await l.pass(0)
  for (let i = 0; i < 8; i++) {
    l.socket.end(1006)
    await l.pass(30_000)
  }
  l.socket.end(1006)
  const before = l.sockets.length
  await wake('hidden')
  assert.equal(l.sockets.length, before)
  await wake('visible')
  assert.equal(l.sockets.length, before + 1)
  await wake('visible')
  assert.equal(l.sockets.length, before + 1)
  l.socket.refuse(1013, 'Try again later')
  await wake('visible')
  assert.equal(l.sockets.length, before + 1)
})

test('a tab that wakes up leaves a connection alone that came back by itself', async (t) => {
  const page = tab(t)
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  l.socket.end(1006)
  await l.pass(400)
  l.socket.sync()
  page.dispatchEvent(new Event('visibilitychange'))
  assert.equal(l.connection.status.state, 'synced')
  await l.pass(10_000)
  assert.deepEqual([l.sockets.length, l.socket.readyState], [2, 1])
})

for (const answers of [true, false]) {
  test(`when the network comes back, a socket ${answers ? 'that answers stays' : 'without an answer is not waited for'}`, async (t) => {
    const network = new EventTarget()
    globalThis.addEventListener = network.addEventListener.bind(network)
    globalThis.removeEventListener = network.removeEventListener.bind(network)
    t.after(() => { delete globalThis.addEventListener; delete globalThis.removeEventListener })
    const l = lab(t)
    await l.pass(0)
    l.socket.sync()
    await l.pass(1000)
    for (let client = 1; client < 100; client++) Y.applyUpdate(l.doc, insertBy(client), l.connection.provider)
    const { length } = l.socket.sent
    network.dispatchEvent(new Event('online'))
    assert.equal(l.socket.sent.length, length + 1)
    const decoder = createDecoder(l.socket.sent[length])
    assert.deepEqual([readVarUint(decoder), readVarUint(decoder), readVarUint8Array(decoder)], [0, 0, Y.encodeStateVector(l.doc)])
    await l.pass(100)
    if (answers) l.socket.receive(frames.synced)
    await l.pass(8000)
    assert.equal(l.connection.status.state, answers ? 'synced' : 'waiting')
  })
}

for (const [call, states] of [['disconnect', ['waiting', 'closed']], ['connect', ['waiting', 'connecting', 'synced']]]) {
  test(`${call} by a listener while the connection is lost is not undone by a tab that wakes up`, async (t) => {
    const page = tab(t)
    const l = lab(t)
    await l.pass(0)
    l.socket.sync()
    l.seen.length = 0
    l.connection.subscribe(({ state }) => { if (state === 'waiting') l.connection[call]() })
    l.socket.end(1006)
    await l.pass(0)
    if (call === 'connect') l.socket.sync()
    page.dispatchEvent(new Event('visibilitychange'))
    await l.pass(60_000)
    assert.deepEqual(l.states(), states)
  })
}

test('one status: what the app sees of a life', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.refuse(4009, 'REDIRECT:wss://us.example/todo')
  await l.pass(0)
  l.socket.sync()
  await l.pass(60_000)
  l.socket.end(1012, 'Service restart')
  await l.pass(1000)
  l.socket.sync()
  l.connection.disconnect()
  assert.deepEqual(l.seen.map(({ state, region, code }) => [state, region, code].join(' ').trim()), [
    'connecting eu 0',
    'connecting eu 4009',
    'connecting us 4009',
    'synced us 0',
    'waiting us 1012',
    'connecting us 1012',
    'synced us 0',
    'closed us 0'
  ])
  assert.ok(Object.isFrozen(l.connection.status))
})

test('listeners see the latest status last, and nothing after they were unsubscribed', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  const late = []
  const gone = []
  l.connection.subscribe(({ state }) => {
    if (state !== 'waiting') return
    leave()
    l.connection.connect()
  })
  l.connection.subscribe(({ state }) => late.push(state))
  const leave = l.connection.subscribe(({ state }) => gone.push(state))
  l.socket.end(1006)
  assert.equal(late.at(-1), 'connecting')
  assert.deepEqual(gone, [])
})

test('a listener that destroys the connection as the next try begins keeps getToken from being called', async (t) => {
  let calls = 0
  const l = lab(t, { getToken: async () => { calls++; throw new Error('offline') } })
  await l.pass(0)
  l.connection.subscribe(({ state }) => { if (state === 'connecting') l.connection.destroy() })
  await l.pass(60_000)
  assert.equal(calls, 1)
  assert.equal(l.connection.status.state, 'closed')
})

test('a listener that throws does not stop the connection', async (t) => {
  const l = lab(t)
  const thrown = []
  l.connection.subscribe(() => { throw new Error('app') })
  for (let i = 0; i < 4; i++) await l.pass(0).catch((error) => thrown.push(error.message))
  l.socket.sync()
  assert.equal(l.connection.status.state, 'synced')
  await l.pass(0).catch((error) => thrown.push(error.message))
  assert.ok(thrown.every((message) => message === 'app') && thrown.length > 0)
})

test('whenSynced settles with the first sync, and rejects with the code that stopped it', async (t) => {
  const l = lab(t)
  const synced = l.connection.whenSynced()
  await l.pass(0)
  l.socket.sync()
  await synced
  await l.connection.whenSynced()
  l.socket.end(4003, 'Forbidden: document')
  await assert.rejects(l.connection.whenSynced(), { code: 4003, message: 'Forbidden: document' })
})

test('names reach the server as they are', () => {
  const url = (name) => new URL('wss://eu.example/' + pathOf(name)).href.slice('wss://eu.example/'.length)
  assert.equal(url('my-document'), 'my-document')
  assert.equal(url('a/b'), 'a/b')
  for (const name of ['größe 1', 'a?b', 'a#b', '50%', 'a\\b', 'a/../b', 'a//b', '/a', 'c++', 'x::y', '*', '>', 'a/.']) {
    assert.equal(decodeURIComponent(url(name)), name)
  }
})

test('wrong options are told at once', () => {
  const good = { regions: 'wss://eu.example', documentName: 'x', doc: new Y.Doc(), getToken: () => '', WebSocketPolyfill: class {} }
  for (const [wrong, pattern] of [
    [{ regions: {} }, /regions/],
    [{ documentName: undefined }, /documentName/],
    [{ getToken: 'abc' }, /getToken/],
    [{ WebSocketPolyfill: undefined }, globalThis.WebSocket ? undefined : /WebSocketPolyfill/]
  ]) {
    if (pattern) assert.throws(() => connect({ ...good, ...wrong }), pattern)
  }
})

test('an address that is none is a region that is down', async (t) => {
  const l = lab(t, { regions: { bad: 'wss://[', eu: 'wss://eu.example' } })
  await l.pass(0)
  assert.equal(l.connection.status.state, 'waiting')
  await l.pass(400)
  assert.deepEqual(l.hosts(), ['eu.example'])
})

test('of regions that live below one another the nearer one is meant', async (t) => {
  const l = lab(t, { regions: { a: 'wss://example.com', b: 'wss://example.com/eu' } })
  await l.pass(0)
  l.socket.refuse(4009, 'REDIRECT:wss://example.com/eu/todo')
  await l.pass(0)
  assert.deepEqual([l.socket.url, l.connection.status.region], ['wss://example.com/eu/todo', 'b'])
})

test('regions may be given as https URLs, and one as a mere URL', async (t) => {
  const l = lab(t, { regions: 'https://eu.example/', strategy: 'discovery' }, () => found('eu'))
  await l.pass(0)
  assert.deepEqual([l.asked[0], l.socket.url], ['https://eu.example/discovery?documentName=todo', 'wss://eu.example/todo'])
})

test('a region that lives below a path is told from one whose name begins alike', async (t) => {
  const l = lab(t, { regions: { a: 'wss://example.com/eu', b: 'wss://example.com/eu2' } })
  await l.pass(0)
  l.socket.refuse(4009, 'REDIRECT:wss://example.com/eu2/todo')
  await l.pass(0)
  assert.equal(l.socket.url, 'wss://example.com/eu2/todo')
  assert.equal(l.connection.status.region, 'b')
})
