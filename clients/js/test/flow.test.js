import { mock, test } from 'node:test'
import assert from 'node:assert/strict'
import * as Y from 'yjs'
import { connect } from '../src/index.js'
import { pathOf } from '../src/regions.js'
import { claimsOf, readOnly, renewIn } from '../src/token.js'
import { jwt, lab, settle } from './lab.js'

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

test("discovery's 401 fetches one new token, then is final", async (t) => {
  const l = lab(t, { strategy: 'discovery' }, () => [401, { message: 'because' }])
  await l.pass(0)
  await l.pass(10 * 60_000)
  assert.deepEqual(l.tokens.map(({ force }) => force), [false, true])
  assert.equal(l.asked.length, 2)
  const { state, code, reason } = l.connection.status
  assert.deepEqual([state, code, reason], ['stopped', 4002, 'because'])
})

test('an app that gives an expired token from its cache is asked for a new one, and connects', async (t) => {
  let last
  const l = lab(t, {
    strategy: 'discovery',
    getToken: ({ force }) => force ? 'new.a.b' : 'old.a.b'
  }, (url, { headers }) => {
    last = headers.Authorization
    return last === 'Bearer new.a.b' ? found('eu') : [401, { message: 'Invalid token: expired' }]
  })
  await l.pass(0)
  assert.equal(last, 'Bearer new.a.b')
  l.socket.sync()
  assert.equal(l.connection.status.state, 'synced')
})

test("discovery's 401 for a token that once worked fetches one new token, then is final", async (t) => {
  let status = 200
  const l = lab(t, { strategy: 'discovery' }, () => status === 200 ? found('eu') : [401, { message: 'rotated' }])
  await l.pass(0)
  l.socket.sync()
  await l.pass(60_000)
  status = 401
  l.socket.end(1006)
  await l.pass(400) // the same region first
  l.socket.end(1006)
  await l.pass(800) // then directly to the next
  l.socket.end(1006)
  await l.pass(1600) // then discovery again
  assert.equal(l.connection.status.state, 'stopped')
  assert.equal(l.asked.length, 3)
  assert.deepEqual(l.tokens.map(({ force }) => force), [false, true])
})

for (const down of [[0], [500], [503, {}, { 'Retry-After': '2' }], [429, {}, { 'Retry-After': '60' }], [404], [200, {}]]) {
  test(`discovery goes on to the next region after ${down[0] || 'no answer'}`, async (t) => {
    const l = lab(t, { strategy: 'discovery' }, ({ host }) => host === 'ap.example' ? found('us') : down)
    await l.pass(0)
    assert.deepEqual(l.asked.map((url) => new URL(url).host), ['eu.example', 'us.example', 'ap.example'])
    assert.deepEqual(l.hosts(), ['us.example'])
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

test('a token is fetched anew a minute before it expires, without touching the connection', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  await l.pass(3539_000)
  assert.equal(l.tokens.length, 1)
  await l.pass(1000)
  assert.equal(l.tokens.length, 2)
  assert.equal(l.sockets.length, 1)
  l.socket.end(1006)
  await l.pass(400)
  assert.equal(l.tokens.length, 2)
  assert.equal(claimsOf(l.socket.protocols[1]).n, 2)
})

test('after a sleep, in which timers stood still, no expired token is used', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  t.mock.method(Date, 'now', () => 1_700_000_000_000 + 8 * 3600_000)
  l.socket.end(1006)
  await l.pass(400)
  assert.equal(l.tokens.length, 2)
})

test('a token that the app keeps giving until it expires is not asked for in a tight loop', async (t) => {
  let calls = 0
  const token = jwt({ iat: 1_700_000_000, exp: 1_700_000_120 })
  const l = lab(t, { getToken: () => { calls++; return token } })
  await l.pass(0)
  l.socket.sync()
  for (let s = 0; s < 600; s++) await l.pass(1000)
  assert.ok(calls < 20, String(calls))
})

test('a renewal under way ends with its connection, and is not taken for the next one', async (t) => {
  const asked = []
  const l = lab(t, { getToken: (request) => new Promise((resolve) => asked.push({ ...request, resolve })) })
  await l.pass(0)
  asked[0].resolve(jwt({ sub: 'ada' }))
  await l.pass(0)
  l.socket.sync()
  await l.pass(3540_000)
  assert.equal(asked.length, 2)
  l.connection.disconnect()
  assert.ok(asked[1].signal.aborted)
  l.connection.connect()
  await l.pass(0)
  asked[2].resolve(jwt({ sub: 'bob' }))
  await l.pass(0)
  asked[1].resolve(jwt({ sub: 'ada' }))
  await l.pass(0)
  assert.equal(claimsOf(l.socket.protocols[1]).sub, 'bob')
  l.socket.sync()
  l.socket.end(1006)
  await l.pass(400)
  assert.equal(claimsOf(l.socket.protocols[1]).sub, 'bob')
  l.connection.destroy()
})

test('after disconnect and connect the app is asked who is signed in, and its token renewed as before', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  l.connection.disconnect()
  l.connection.connect()
  await l.pass(0)
  l.socket.sync()
  assert.deepEqual(l.tokens.map(({ force }) => force), [false, false])
  assert.equal(claimsOf(l.socket.protocols[1]).n, 2)
  await l.pass(3540_000)
  assert.equal(l.tokens.length, 3)
})

test('a renewal ahead of time that fails is tried again while the token lasts', async (t) => {
  let calls = 0
  const l = lab(t, { getToken: async () => { if (++calls === 2) throw new Error('offline'); return jwt({ n: calls }) } })
  await l.pass(0)
  l.socket.sync()
  await l.pass(3540_000)
  assert.equal(calls, 2)
  await l.pass(30_000)
  assert.equal(calls, 3)
  l.socket.end(1006)
  await l.pass(400)
  assert.equal(claimsOf(l.socket.protocols[1]).n, 3)
})

test('when a token is renewed', () => {
  const now = Date.now() / 1000
  const minutes = (claims) => Math.round(renewIn(claims) / 6000) / 10
  assert.equal(minutes({ exp: now + 3600, iat: now }), 59)
  assert.equal(minutes({ exp: now + 60, iat: now }), 0.5)
  assert.equal(minutes({ exp: now + 600, iat: now - 3000 }), 9) // half used
  assert.equal(minutes({ exp: now - 3600, iat: now - 7200 }), 59) // this clock is an hour or more ahead
  assert.equal(minutes({ exp: now + 90_000, iat: now + 86_400 }), 59) // this clock is a day behind
  assert.equal(renewIn({}), Infinity)
  assert.equal(renewIn({ exp: 'soon' }), Infinity)
})

test('claims of what is no token', () => {
  for (const token of ['', 'x', 'a.b.c', 'a.bnVsbA.c', 'a.NQ.c']) assert.equal(claimsOf(token).exp, undefined)
  assert.equal(claimsOf(jwt({ tenantId: 'größe', appId: 'x' })).appId, 'x')
})

test('nobody signed in: stops with 4001 and opens nothing', async (t) => {
  const l = lab(t, { getToken: async () => null })
  await l.pass(0)
  await l.pass(60_000)
  assert.equal(l.connection.status.code, 4001)
  assert.equal(l.sockets.length, 0)
})

test('getToken that fails is tried again', async (t) => {
  let calls = 0
  const l = lab(t, { getToken: async () => { if (++calls < 3) throw Object.assign(new Error('offline'), { code: 20 }); return jwt() } })
  await l.pass(0)
  assert.equal(l.connection.status.state, 'waiting')
  assert.equal(l.connection.status.reason, 'offline')
  await l.pass(400)
  await l.pass(800)
  assert.equal(l.sockets.length, 1)
})

test('getToken that rejects with nothing, or with no error, is tried again', async (t) => {
  const troubles = [undefined, null, 'offline']
  const l = lab(t, { getToken: () => troubles.length ? Promise.reject(troubles.shift()) : jwt() })
  for (const wait of [0, 400, 800, 1600]) await l.pass(wait)
  assert.deepEqual(l.seen.filter(({ state }) => state === 'waiting').map(({ reason }) => reason), ['undefined', 'null', 'offline'])
  assert.equal(l.sockets.length, 1)
})

test('getToken that does not answer is asked again, with a new signal', async (t) => {
  const signals = []
  const l = lab(t, { getToken: ({ signal }) => { signals.push(signal); return signals.length < 2 ? new Promise(() => {}) : jwt() } })
  await l.pass(0)
  await l.pass(14_999)
  assert.equal(l.connection.status.state, 'connecting')
  await l.pass(1)
  assert.deepEqual([l.connection.status.state, signals[0].aborted], ['waiting', true])
  await l.pass(400)
  l.socket.sync()
  await l.pass(60_000)
  assert.deepEqual([l.sockets.length, signals.length, l.connection.status.state], [1, 2, 'synced'])
})

for (const nonsense of ['<!doctype html><title>Sign in</title>', 'a.b.c=', 'a.b\nc', 'a b', { token: 'x' }]) {
  test(`getToken that gives ${JSON.stringify(nonsense)} is asked for a better one, once`, async (t) => {
    for (const strategy of ['catch', 'discovery']) {
      let calls = 0
      const l = lab(t, { strategy, getToken: () => { calls++; return nonsense } })
      await l.pass(0)
      await l.pass(60_000)
      assert.deepEqual([l.connection.status.state, l.connection.status.code], ['stopped', 4002])
      assert.deepEqual([calls, l.sockets.length, l.asked.length], [2, 0, 0])
      mock.timers.reset()
    }
  })
}

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
  const page = new EventTarget()
  page.visibilityState = 'hidden'
  globalThis.document = page
  t.after(() => { delete globalThis.document })
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
  const page = Object.assign(new EventTarget(), { visibilityState: 'visible' })
  globalThis.document = page
  t.after(() => { delete globalThis.document })
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

for (const [call, states] of [['disconnect', ['waiting', 'closed']], ['connect', ['waiting', 'connecting', 'synced']]]) {
  test(`${call} by a listener while the connection is lost is not undone by a tab that wakes up`, async (t) => {
    const page = Object.assign(new EventTarget(), { visibilityState: 'visible' })
    globalThis.document = page
    t.after(() => { delete globalThis.document })
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
  l.socket.end(4004, 'Connection limit exceeded: 5')
  await assert.rejects(l.connection.whenSynced(), { code: 4004, message: 'Connection limit exceeded: 5' })
})

test('a read-only token shows from the start', async (t) => {
  const l = lab(t, { getToken: () => jwt({ access: 'readonly' }) })
  await l.pass(0)
  assert.equal(l.connection.status.readOnly, true)
})

for (const [documents, expected] of [
  [['todo'], false],
  [[{ name: 'todo', access: 'readonly' }], true],
  [[{ name: '*', access: 'readonly' }], true],
  [[{ name: 'to*', access: 'readonly' }], false],
  [[{ name: '*', access: 'readonly' }, 'todo'], false],
  [['todo', { name: 'todo', access: 'readonly' }], true],
  [[{ name: 'todo', access: 'readonly' }, 'todo', 'other'], true],
  ['todo', false],
  [[null, 7, {}], false]
]) {
  test(`documents: ${JSON.stringify(documents)} shows ${expected ? 'read-only' : 'writable'} from the start`, async (t) => {
    const l = lab(t, { getToken: () => jwt({ documents }) })
    await l.pass(0)
    assert.equal(l.connection.status.readOnly, expected)
  })
}

test('of prefixes the longest decides, of equal ones the stricter', () => {
  const only = (...documents) => readOnly({ documents }, 'a/b/c')
  assert.equal(only({ name: 'a/*', access: 'readonly' }, { name: 'a/b/*' }), false)
  assert.equal(only({ name: 'a/b/*', access: 'readonly' }, 'a/*', '*'), true)
  assert.equal(only('a/b/*', { name: 'a/b/*', access: 'readonly' }, 'a/b/*'), true)
  assert.equal(only({ name: 'b/*', access: 'readonly' }), false)
  assert.equal(readOnly({ access: 'readonly', documents: ['x'] }, 'x'), true)
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
