import { test } from 'node:test'
import assert from 'node:assert/strict'
import { lab, frames } from './lab.js'

const finals = [
  [4001, 'Missing token'],
  [4003, 'Forbidden: origin'],
  [4004, 'Connection limit exceeded: 5'],
  [4005, 'Document limit exceeded: 3 (active: 3)'],
  [4007, 'Invalid document name'],
  [4008, 'Document user limit exceeded: 2'],
  [1003, 'text frame'],
  [1007, 'malformed'],
  [4401, 'y-websocket: permanent']
]
const full = [4004, 4005, 4008]
for (const [code, reason] of finals) {
  test(`${code} stops at once and tells the app why`, async (t) => {
    const l = lab(t)
    await l.pass(0)
    l.socket.refuse(code, reason)
    const { state, code: shown, reason: why } = l.connection.status
    assert.deepEqual([state, shown, why], ['stopped', code, reason])
    await l.pass(10 * 60_000)
    assert.equal(l.sockets.length, 1)
  })

  if (full.includes(code)) continue
  test(`${code} stops a session that was synced, too`, async (t) => {
    const l = lab(t)
    await l.pass(0)
    l.socket.sync()
    await l.pass(60_000)
    l.socket.end(code, reason)
    await l.pass(10 * 60_000)
    assert.equal(l.connection.status.state, 'stopped')
    assert.equal(l.sockets.length, 1)
  })
}

for (const code of full) {
  test(`${code} lets who has been in come back slowly`, async (t) => {
    const l = lab(t)
    await l.pass(0)
    l.socket.sync()
    await l.pass(60_000)
    l.socket.end(1006)
    await l.pass(400)
    for (const wait of [10_000, 20_000, 30_000, 30_000]) {
      const before = l.sockets.length
      l.socket.refuse(code, 'full')
      assert.deepEqual([l.connection.status.state, l.connection.status.code], ['waiting', code])
      await l.pass(wait - 1)
      assert.equal(l.sockets.length, before, `after ${wait - 1} ms`)
      await l.pass(1)
      assert.equal(l.sockets.length, before + 1, `after ${wait} ms`)
    }
    l.socket.sync()
    assert.equal(l.connection.status.state, 'synced')
  })
}

test('what is too large for one message is sent once more, as the answer to a question', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  l.socket.end(1009, 'Message too large: limit 16777216 bytes')
  assert.equal(l.connection.status.state, 'waiting')
  await l.pass(400)
  l.socket.sync()
  await l.pass(20_000)
  l.socket.end(1009, 'Message too large: limit 16777216 bytes') // another one, later
  await l.pass(400)
  l.socket.sync()
  l.socket.end(1009, 'Document too large: limit 268435456 bytes')
  assert.deepEqual([l.connection.status.state, l.connection.status.code], ['stopped', 1009])
})

test('a stopped connection starts again when the app says so, with a new token', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.refuse(4008, 'Document user limit exceeded: 2')
  l.connection.connect()
  await l.pass(0)
  l.socket.sync()
  assert.equal(l.connection.status.state, 'synced')
  assert.deepEqual(l.tokens.map(({ force }) => force), [false, true])
})

for (const [code, first, region] of [[4006, 5000, 'eu'], [1012, 1000, 'eu'], [1013, 1000, 'eu'], [1006, 400, 'us']]) {
  test(`${code} comes back after ${first} ms, then after twice that`, async (t) => {
    const l = lab(t)
    await l.pass(0)
    l.socket.refuse(code, 'x')
    assert.equal(l.connection.status.state, 'waiting')
    assert.equal(l.connection.status.code, code)
    assert.equal(l.connection.status.retryAt, Date.now() + first)
    await l.pass(first - 1)
    assert.equal(l.sockets.length, 1)
    await l.pass(1)
    assert.equal(l.sockets.length, 2)
    if (code !== 4006) assert.equal(new URL(l.socket.url).host, region + '.example')
    l.socket.refuse(code, 'x')
    assert.equal(l.connection.status.retryAt, Date.now() + 2 * first)
  })
}

test('waits are random between half and all, and never longer than 30 s', async (t) => {
  const l = lab(t, { regions: 'wss://only.example' })
  await l.pass(0)
  for (let i = 0; i < 12; i++) {
    l.socket.refuse(1013, 'Try again later')
    await l.pass(30_000)
  }
  t.mock.method(Math, 'random', () => 0.999999)
  l.socket.refuse(1013, 'Try again later')
  const wait = l.connection.status.retryAt - Date.now()
  assert.ok(wait > 15_000 && wait < 15_100, String(wait))
})

test('a session that lasted forgets the failures before it', async (t) => {
  const l = lab(t, { regions: 'wss://only.example' })
  await l.pass(0)
  for (let i = 0; i < 6; i++) {
    l.socket.end(1006)
    await l.pass(30_000)
  }
  l.socket.sync()
  await l.pass(10_001)
  l.socket.end(1006)
  assert.equal(l.connection.status.retryAt - Date.now(), 400)
})

test('a session that did not last does not: no tight loop of refusals after sync', async (t) => {
  const l = lab(t, { regions: 'wss://only.example' })
  await l.pass(0)
  for (const wait of [5000, 10_000, 20_000, 30_000]) {
    l.socket.sync()
    l.socket.end(4006, 'Rate limit exceeded: 100 ops/min')
    assert.equal(l.connection.status.retryAt - Date.now(), wait)
    await l.pass(wait)
  }
})

test('4002 fetches a new token and comes back at once', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.refuse(4002, 'Invalid token: expired')
  await l.pass(0)
  assert.equal(l.sockets.length, 2)
  assert.deepEqual(l.tokens.map(({ force }) => force), [false, true])
  assert.notEqual(l.sockets[0].protocols[1], l.sockets[1].protocols[1])
  l.socket.sync()
  assert.deepEqual(l.states().at(-1), 'synced')
})

test('4002 for the new token as well stops', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.refuse(4002, 'Invalid token: audience')
  await l.pass(0)
  l.socket.refuse(4002, 'Invalid token: audience')
  await l.pass(60_000)
  assert.equal(l.sockets.length, 2)
  assert.equal(l.connection.status.state, 'stopped')
  assert.equal(l.connection.status.reason, 'Invalid token: audience')
})

test('4002 years later gets its new token again', async (t) => {
  const l = lab(t)
  await l.pass(0)
  for (let i = 0; i < 3; i++) {
    l.socket.refuse(4002, 'Invalid token: signature')
    await l.pass(0)
    l.socket.sync()
    await l.pass(60_000)
    l.socket.end(1006)
    await l.pass(400)
  }
  assert.equal(l.connection.status.state, 'connecting')
})

test('4009 is followed at once, to the region it names', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.refuse(4009, 'REDIRECT:wss://us.example/todo')
  assert.equal(l.connection.status.state, 'connecting')
  assert.equal(l.connection.status.code, 4009)
  await l.pass(0)
  assert.equal(l.socket.url, 'wss://us.example/todo')
  assert.equal(l.connection.status.region, 'us')
})

test('4009 without the document name, and to a region that the app does not know', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.refuse(4009, 'REDIRECT:wss://us.example')
  await l.pass(0)
  assert.equal(l.socket.url, 'wss://us.example/todo')
  l.socket.refuse(4009, 'REDIRECT:wss://sa.example/todo')
  await l.pass(0)
  assert.equal(l.socket.url, 'wss://sa.example/todo/todo') // the same document, by the service's contract
  assert.equal(l.connection.status.region, 'sa.example')
})

for (const reason of ['REDIRECT:ws://us.example/todo', 'REDIRECT:https://us.example', 'REDIRECT:', '']) {
  test(`4009 with ${JSON.stringify(reason)} gets no token of an encrypted connection`, async (t) => {
    const l = lab(t)
    await l.pass(0)
    l.socket.refuse(4009, reason)
    await l.pass(0)
    assert.equal(l.sockets.length, 1)
    await l.pass(400)
    assert.deepEqual(l.hosts(), ['eu.example', 'us.example'])
  })
}

test('4009 to a region that the app does not trust is not followed', async (t) => {
  const l = lab(t, { trust: (url) => url.startsWith('wss://sa.') })
  await l.pass(0)
  l.socket.refuse(4009, 'REDIRECT:wss://evil.example/todo')
  await l.pass(400)
  assert.deepEqual(l.hosts(), ['eu.example', 'us.example'])
  l.socket.refuse(4009, 'REDIRECT:wss://sa.example/todo')
  await l.pass(0)
  assert.equal(l.hosts().at(-1), 'sa.example')
})

test('4009 to a region about which the app cannot decide is not followed', async (t) => {
  const l = lab(t, { trust: (url) => new URL('?', url.slice(4)).host === 'sa.example' })
  await l.pass(0)
  l.socket.refuse(4009, 'REDIRECT:wss://evil.example/todo')
  assert.equal(l.connection.status.state, 'waiting')
  await l.pass(400)
  assert.deepEqual(l.hosts(), ['eu.example', 'us.example'])
})

for (const before of ['open', 'sync']) {
  test(`two regions that redirect to each other after ${before} are not asked in a tight loop`, async (t) => {
    const l = lab(t)
    await l.pass(0)
    for (let i = 0; i < 6; i++) {
      const other = new URL(l.socket.url).host === 'eu.example' ? 'us' : 'eu'
      if (l.socket.readyState === 0) l.socket[before]()
      l.socket.end(4009, `REDIRECT:wss://${other}.example/todo`)
      await l.pass(0)
    }
    assert.equal(l.sockets.length, 4)
    assert.equal(l.connection.status.state, 'waiting')
  })
}

test('a refused edit shows that the session is read-only', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  assert.equal(l.connection.status.readOnly, false)
  l.socket.receive(frames.denied)
  assert.equal(l.connection.status.readOnly, true)
  assert.equal(l.connection.status.state, 'synced')
})
