// Hocuspocus' providers, unmodified, versions 2 to 4: what an application does with them,
// and what must not happen to it. $NODES as in providers.mjs; nodes are steered by the
// development endpoints and by $WSCTL, over $NATS.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ask, Partner, Socket, first, second, elsewhere, patience, steer, tokenFor, until, versions, wsctl } from './lib.mjs'

const soak = process.env.SOAK === '1'
const names = Object.keys(versions)
const token = await tokenFor()

/** What a scenario opens is ended with its test. */
const opener = (t) => {
  const opened = []
  t.after(() => { for (const o of opened) o.destroy() })
  return {
    socket: (version, url, options) => { const s = new Socket(version, url, options); opened.push(s); return s },
    partner: (url, name, token) => { const p = new Partner(url, name, token); opened.push(p); return p }
  }
}

// It is quiet in the other region all the while that the first one is disturbed.
const quiet = Promise.allSettled(names.map(async (version) => {
  const s = new Socket(version, elsewhere)
  const d = s.open('idle-' + version, { token, awareness: null })
  await until('it is in', () => d.saved())
  await new Promise((resolve) => setTimeout(resolve, soak ? 90_000 : 40_000)) // they give a server up that says nothing for 30 s
  d.type('still here')
  await until(() => `an edit is saved: ${d}`, () => d.saved())
  assert.equal(s.connects, 1, `${d}`)
  s.destroy()
}))

const scenarios = {
  async 'both wires share a document' (t, version) {
    const { socket, partner } = opener(t)
    const name = 'both-' + version
    const other = partner(second, name, token)
    const d = socket(version, first).open(name, { token })
    const e = socket(version, second + '/some/where/').open(name, { token: async () => token })
    await until('both are in', () => d.saved() && e.saved() && other.provider.synced)
    other.type('one ')
    await until('what y-websocket typed arrives', () => d.text === 'one ' && e.text === 'one ')
    d.type('two ')
    await until('what it typed reaches both', () => other.text === 'one two ' && e.text === 'one two ')
    d.provider.setAwarenessField('user', 'ann')
    e.provider.setAwarenessField('user', 'eve')
    other.provider.awareness.setLocalStateField('user', 'bob')
    const all = 'ann,bob,eve'
    d.provider.sendStateless('hello')
    await until('the other provider gets what is not kept', () => e.stateless.join() === 'hello')
    assert.deepEqual(d.stateless, [])
    await until('all see each other', () => d.users === all && e.users === all && other.users === all)
    for (let i = 0; i < 20; i++) d.type('x')
    d.provider.forceSync()
    await until(() => `it is saved: ${d}`, () => d.saved() && other.text === e.text && e.text === d.text)
    e.provider.destroy()
    await until('who left is gone for both', () => d.users === 'ann,bob' && other.users === 'ann,bob')
    if (version !== '2.15') assert.equal(d.provider.unsyncedChanges, 0)
  },

  async 'three documents with three tokens on one socket' (t, version) {
    const { socket, partner } = opener(t)
    const s = socket(version, first)
    const name = (n) => `three-${n}-${version}`
    const whole = s.open(name('whole'), { token })
    const refused = s.open(name('refused'), { token: await tokenFor({ document: name('whole') }) })
    const reading = s.open(name('reading'), { token: await tokenFor({ access: 'readonly' }) })
    const other = partner(second, name('reading'), token)
    const witness = partner(second, name('whole'), token)
    await until(() => `each has its answer: ${whole} ${refused} ${reading}`, () => whole.saved() && reading.saved() && refused.denied.length > 0)
    assert.deepEqual([whole.granted, refused.denied, reading.granted], [['read-write'], ['Forbidden: document'], ['readonly']])
    reading.type('not mine ')
    other.type('theirs ')
    whole.type('one ')
    await until('edits that are allowed arrive', () => reading.text.includes('theirs ') && witness.text === 'one ' && whole.saved())
    assert.equal(other.text, 'theirs ')
    assert.ok(reading.provider.hasUnsyncedChanges, 'what is not taken is not saved')
    reading.provider.destroy()
    whole.type('two')
    await until('the others go on', () => whole.saved() && witness.text === 'one two')
    assert.equal(s.connects, 1)
  },

  async 'refusals end a document, never the socket' (t, version) {
    const { socket } = opener(t)
    const s = socket(version, first)
    const plan = { tenant: 'full', app: 'v' + version.replace('.', '-') }
    const of = (limits) => tokenFor({ ...plan, ...limits })
    const good = s.open('good-' + version, { token })
    const place = socket(version, first).open('place', { token: await of() })
    await until('one place is taken', () => good.saved() && place.saved())
    const refused = [
      ['malformed', 'no token', 'Invalid token: malformed'],
      ['signature', token.slice(0, -40) + 'A'.repeat(40), 'Invalid token: signature'],
      ['expired', await tokenFor({ ttl: '-1h' }), 'Invalid token: expired'],
      ['origin', await tokenFor({ domain: 'app.example' }), 'Forbidden: origin'],
      ['license', await tokenFor({ dbCode: 'aws-xx-nowhere-1' }), 'Forbidden: license region'],
      ['document', await tokenFor({ document: 'other' }), 'Forbidden: document'],
      ['a//b', token, 'Invalid document name'],
      ['place', await of({ maxUsersPerDoc: 1 }), 'Document user limit exceeded: 1'],
      ['place2', await of({ maxDocuments: 1 }), 'Document limit exceeded: 1 (active: 1)'],
      ['place3', await of({ maxConnections: 1 }), 'Connection limit exceeded: 1']
    ]
    if (version !== '2.15') refused.push(['none', '', 'Missing token'])
    for (const [name, token, reason] of refused) {
      const d = s.open(name, { token })
      await until(() => `${name} is refused: ${d}`, () => d.denied.length > 0)
      assert.deepEqual(d.denied, [reason])
    }
    good.type('goes on')
    await until('the good one goes on', () => good.saved())
    for (const d of s.documents.slice(1)) {
      assert.equal(d.denied.length, 1, `${d}`)
      assert.equal(d.acknowledged, 0, `${d}`)
    }
    assert.equal(s.connects, 1)
  },

  async 'what an operator ends is not acknowledged until a new token' (t, version) {
    for (const [how, reason, ...flags] of [['kicked', 'enough', '--permanent'], ['deleted', 'Document deleted', '--code', '4404'], ['too fast', 'Rate limit exceeded: 5 ops/min']]) {
      await t.test(how, async (t) => {
        const { socket, partner } = opener(t)
        const name = `${how.replace(' ', '-')}-${version}`
        const where = { tenant: 'ended', app: 'v' + version.replace('.', '-') }
        const whole = await tokenFor(where)
        const other = partner(second, name, whole)
        const s = socket(version, first)
        const goes = s.open('goes-on-' + name, { token })
        const ends = s.open(name, { token: flags.length > 0 ? whole : await tokenFor({ ...where, opsPerMinute: 5 }) })
        await until('all are in', () => goes.saved() && ends.saved() && other.provider.synced)
        if (flags.length > 0) {
          ends.type('before ')
          await until('an edit arrives', () => other.text === 'before ' && ends.saved())
          const kick = () => wsctl('sessions', 'kick', '--tenant', where.tenant, '--app', where.app, '--document', name, '--remote', '127.0.0.1', '--reason', reason, '--yes', ...flags)
          other.provider.disconnect() // or it would be meant, too
          await until(() => `it is told: ${ends}`, async () => { await kick(); return ends.denied.length > 0 })
          other.provider.connect()
        } else {
          await until(() => `it is told: ${ends}`, () => { ends.type('x'); return ends.denied.length > 0 })
        }
        assert.deepEqual(ends.denied, [reason])
        const acknowledged = ends.acknowledged
        for (let i = 0; i < 10; i++) ends.type('after ')
        goes.type('on')
        await until('the other document goes on', () => goes.saved() && other.provider.synced)
        assert.equal(ends.acknowledged, acknowledged, `${ends}`)
        assert.ok(!other.text.includes('after'), other.text)
        if (version !== '2.15') assert.ok(ends.provider.hasUnsyncedChanges) // 2.15 counts on, and sends nothing
        ends.again(whole)
        await until(() => `with a new token all arrives: ${ends} ${other.text}`, () => ends.saved() && other.text === ends.text)
        assert.equal(ends.text.split('after ').length, 11)
        assert.deepEqual([s.connects, ends.denied.length], [1, 1])
      })
    }
  },

  async 'another token changes rights, without anybody leaving' (t, version) {
    if (version === '2.15') return // it sends one only as it connects
    const { socket, partner } = opener(t)
    const name = 'rights-' + version
    const other = partner(second, name, token)
    const s = socket(version, first)
    const d = s.open(name, { token: await tokenFor({ access: 'readonly' }) })
    await until('both are in', () => d.granted.length > 0 && d.provider.synced && other.provider.synced)
    d.type('waits ')
    const give = async (token) => {
      d.provider.configuration.token = token
      await d.provider.sendToken()
    }
    await give(token)
    await until(() => `what was typed is taken: ${d}`, () => d.granted.at(-1) === 'read-write' && d.saved() && other.text === 'waits ')
    await give(await tokenFor({ access: 'readonly' }))
    await until(() => `it reads again: ${d}`, () => d.granted.at(-1) === 'readonly')
    d.type('no more ')
    other.type('on ')
    await until('it goes on reading', () => d.text.includes('on '))
    assert.equal(other.text, 'waits on ')
    assert.deepEqual([s.connects, d.denied], [1, []], `${d}`)
  },

  async 'a document that is deleted is out until there is another' (t, version) {
    const { socket, partner } = opener(t)
    const name = 'gone-' + version
    const s = socket(version, first)
    const stays = s.open('stays-' + version, { token })
    const d = s.open(name, { token })
    const other = partner(second, name, token)
    await until('all are in', () => stays.saved() && d.saved() && other.provider.synced)
    d.type('all of it')
    await until('it is there', () => d.saved() && other.text === 'all of it')
    assert.equal(await wsctl('store', 'delete', `aws-eu-west-1/dev/demo/${name}`, '--yes'), 0)
    await until(() => `it is told: ${d}`, () => d.denied.length > 0)
    assert.deepEqual(d.denied, ['Document deleted'])
    const acknowledged = d.acknowledged
    d.type(' and more')
    stays.type('goes on')
    await until('the other document goes on', () => stays.saved())
    d.again(token)
    await until(() => `who comes back with it is told, too: ${d}`, () => d.denied.length > 1)
    assert.equal(d.acknowledged, acknowledged, `${d}`)
    assert.deepEqual([s.connects, d.denied], [1, ['Document deleted', 'Document deleted']])
  },

  async 'without a token it comes back once a second at most' (t, version) {
    if (version !== '2.15') return // the others say in a message that they have none
    const { socket } = opener(t)
    const s = socket(version, first)
    s.open('nobody', {})
    const start = Date.now()
    await until('it came four times', () => s.closes.length >= 4)
    assert.ok(Date.now() - start > 2000, `${s.closes} within ${Date.now() - start} ms`)
    assert.deepEqual(new Set(s.closes), new Set(['4001 Missing token']))
  }
}

test('what applications do', { concurrency: true, timeout: 10 * patience }, (t) => Promise.all(names.flatMap((version) => Object.entries(scenarios)
  .map(([title, run]) => t.test(`${version}: ${title}`, { concurrency: false }, (t) => run(t, version))))))

test('the same document twice on a socket, and edits in batches', { timeout: 5 * patience }, async (t) => {
  const { socket } = opener(t)
  const s = socket('4.8', first)
  const [one, two] = ['one', 'two'].map(() => s.open('twice', { token, sessionAwareness: true, flushDelay: 20 }))
  await until('both are in', () => one.saved() && two.saved())
  one.provider.setAwarenessField('user', 'ann')
  two.provider.setAwarenessField('user', 'bob')
  for (let i = 0; i < 30; i++) (i % 2 ? one : two).type('x')
  await until(() => `each has the other's: ${one} ${two}`, () => one.text.length === 30 && one.text === two.text && one.users === 'ann,bob' && two.users === 'ann,bob')
  await until('both are saved', () => one.saved() && two.saved())
  one.provider.destroy()
  await until('the one that stays sees that', () => two.users === 'bob')
  two.type('!')
  await until('it goes on', () => two.saved())
  assert.equal(s.connects, 1)
})

test('a history that takes nothing: nothing is saved until it does', { timeout: 5 * patience }, async (t) => {
  const { socket, partner } = opener(t)
  const all = names.map((version) => ({ d: socket(version, first).open('unsaved-' + version, { token }), other: partner(second, 'unsaved-' + version, token) }))
  await until('all are in', () => all.every(({ d, other }) => d.saved() && other.provider.synced))
  await steer('regions/eu-central-1/refuse')
  try {
    for (let i = 0; i < 10; i++) {
      for (const { d } of all) d.type('x')
      await until('all others see it', () => all.every(({ d, other }) => other.text === d.text))
    }
    for (const { d } of all) assert.equal(d.provider.unsyncedChanges, 10, `${d}`)
    if (soak) await new Promise((resolve) => setTimeout(resolve, 60_000))
    for (const { d } of all) assert.deepEqual([d.provider.unsyncedChanges, d.socket.connects], [10, 1], `${d}`)
  } finally {
    await steer('regions/eu-central-1/take')
  }
  await until(() => `all is saved: ${all.map(({ d }) => d)}`, () => all.every(({ d }) => d.saved()))
  for (const { d } of all) assert.deepEqual([d.provider.unsyncedChanges, d.socket.connects], [0, 1], `${d}`)
})

test('a grant held back for 7 s: one connection, and all edits are delivered', { timeout: 5 * patience }, async (t) => {
  const { socket, partner } = opener(t)
  await steer('regions/eu-central-1/cut')
  let held
  try {
    held = names.map((version) => socket(version, first).open('held-' + version, { token }))
    for (let i = 0; i < 19; i++) {
      for (const d of held) d.type(`${i} `)
      await new Promise((resolve) => setTimeout(resolve, 370))
    }
    for (const d of held) assert.deepEqual([d.granted, d.denied, d.acknowledged], [[], [], 0], `${d}`)
  } finally {
    await steer('regions/eu-central-1/heal')
  }
  await until(() => `all are in, and saved: ${held}`, () => held.every((d) => d.saved()))
  for (const d of held) {
    const other = partner(second, 'held-' + d.socket.version, token)
    await until('another has all edits', () => other.text === d.text)
    assert.equal(d.text.split(' ').length, 20)
    assert.deepEqual([d.socket.connects, d.denied], [1, []], `${d}`)
  }
})

test('nodes restart in turn under typing providers: nothing is lost', { timeout: 10 * patience }, async (t) => {
  const { socket } = opener(t)
  const nodes = [first, second]
  const each = soak ? 100 : 6
  const authors = names.flatMap((version) => Array.from({ length: each }, (_, i) => ({
    document: `rolling-${i % 3}`, d: socket(version, nodes[i % 2]).open(`rolling-${i % 3}`, { token }), name: `${version}-${i}`, typed: 0
  })))
  await until('all are in', () => authors.every(({ d }) => d.saved()))
  const typing = setInterval(() => { for (const a of authors) a.d.doc.getArray('log').push([`${a.name}:${a.typed++}`]) }, soak ? 3000 : 200) // each edit is read by all of a document, in this one process
  t.after(() => clearInterval(typing))
  const topology = await (await ask(first, '/dev/topology')).json()
  for (const how of ['drain', 'kill']) {
    for (const { name, url } of topology.regions[0].nodes) {
      const mine = authors.filter(({ d }) => d.socket.provider.configuration.url === url)
      await steer(`nodes/${name}/stop?how=${how}`)
      await steer(`nodes/${name}/start`)
      await until(() => `all of ${name} are back: ${mine.map(({ d }) => d)}`, () => mine.every(({ d }) => d.provider.synced))
    }
  }
  clearInterval(typing)
  await until(() => `all is saved: ${authors.map(({ d }) => d)}`, () => authors.every(({ d }) => d.saved()))
  for (const document of new Set(authors.map((a) => a.document))) {
    const of = authors.filter((a) => a.document === document)
    const expected = of.reduce((sum, a) => sum + a.typed, 0)
    await until(() => `all have all of ${document}`, () => of.every(({ d }) => d.doc.getArray('log').length === expected))
    assert.equal(new Set(of[0].d.doc.getArray('log').toArray()).size, expected)
  }
})

test('nobody types: no version connects anew', { timeout: 5 * patience }, async () => {
  for (const { status, reason } of await quiet) if (status === 'rejected') throw reason
})
