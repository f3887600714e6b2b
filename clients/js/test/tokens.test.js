import { mock, test } from 'node:test'
import assert from 'node:assert/strict'
import { connect } from '../src/index.js'
import { claimsOf, readOnly, renewIn } from '../src/token.js'
import { jwt, lab } from './lab.js'

const found = (region, isNew = false) => [200, { region, url: `wss://${region}.example/todo`, isNew }]

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
