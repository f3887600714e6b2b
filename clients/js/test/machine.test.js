import { test } from 'node:test'
import assert from 'node:assert/strict'
import { codes } from '../src/codes.js'
import { initial, reduce } from '../src/machine.js'

const urls = ['wss://eu.example', 'wss://us.example', 'wss://ap.example']
const world = { now: 1_700_000_000_000, chance: 0, regions: urls.length, find: (url) => urls.indexOf(url) }

/** Runs events through the machine; numbers among them are milliseconds that pass. */
const run = (...events) => {
  let state = initial
  let effects = []
  let now = world.now
  for (const event of events) {
    if (typeof event === 'number') now += event
    else [state, effects] = reduce(state, event, { ...world, now })
  }
  return { state, status: state.status, effects: effects.map((e) => e.after ? `${e.do} ${e.after}` : e.do) }
}
const located = { type: 'located', target: urls[0], region: 'eu', readOnly: false }
const up = [{ type: 'connect' }, { type: 'try' }, located, { type: 'synced' }]

test('nothing happens before the app wants it', () => {
  for (const { status, effects } of [
    run({ type: 'closed', code: 1006, reason: '' }),
    run({ type: 'wake' }),
    run(...up, { type: 'disconnect' }, { type: 'closed', code: 1012, reason: '' })
  ]) {
    assert.equal(status.state, 'closed')
    assert.ok(!effects.includes('try') && !effects.includes('ask'), String(effects))
  }
})

test('a connection goes from the token to the first sync', () => {
  assert.deepEqual(run(up[0]).effects, ['halt', 'try'])
  assert.deepEqual(run(...up.slice(0, 2)).effects, ['ask'])
  assert.deepEqual(run(...up.slice(0, 3)).effects, ['open'])
  const { status, effects } = run(...up)
  assert.deepEqual([status.state, status.region, effects], ['synced', 'eu', ['join']])
})

test('connect does nothing while a connection is there, and ends a wait', () => {
  assert.deepEqual(run(...up, { type: 'connect' }).effects, [])
  const { status, effects } = run(...up, { type: 'closed', code: 1006, reason: '' }, { type: 'connect' })
  assert.deepEqual([status.state, effects], ['connecting', ['halt', 'try']])
})

test('every code of the table leads where it says', () => {
  for (const [code, action] of codes) {
    const early = run(...up.slice(0, 3), { type: 'closed', code, reason: 'why', follow: code === 4009 ? urls[1] : '' })
    const late = run(...up, 60_000, { type: 'closed', code, reason: 'why', follow: code === 4009 ? urls[1] : '' })
    const expected = {
      stop: code === 1009 ? ['waiting', 'waiting'] : ['stopped', 'stopped'],
      full: ['stopped', 'waiting'],
      renew: ['connecting', 'connecting'],
      redirect: ['connecting', 'connecting'],
      retry: ['waiting', 'waiting']
    }[action]
    assert.deepEqual([early.status.state, late.status.state], expected, String(code))
    assert.equal(late.status.code, code)
    assert.equal(late.effects.includes('dropToken'), action === 'renew' || expected[1] === 'stopped', String(code))
  }
})

test('a refused token is renewed once, and once more after a session that lasted', () => {
  const refuse = { type: 'closed', code: 4002, reason: 'Invalid token: expired' }
  assert.equal(run(...up.slice(0, 3), refuse, { type: 'try' }, located, refuse).status.state, 'stopped')
  assert.equal(run(...up.slice(0, 3), refuse, { type: 'try' }, located, { type: 'synced' }, 60_000, refuse).status.state, 'connecting')
})

test('a region that never let this client in is left, one that did is not', () => {
  const lost = { type: 'closed', code: 1006, reason: '' }
  assert.deepEqual((({ target, start, blind }) => [target, start, blind])(run(...up.slice(0, 3), lost).state), ['', 1, true])
  assert.equal(run(...up, lost).state.target, urls[0])
})

test('a region without room is left at the second time', () => {
  const full = { type: 'closed', code: 1013, reason: 'Try again later' }
  assert.equal(run(...up.slice(0, 3), full).state.target, urls[0])
  assert.equal(run(...up.slice(0, 3), full, { type: 'try' }, located, full).state.target, '')
})

test('only a wait that nobody asked for ends when the network comes back', () => {
  assert.equal(run(...up, { type: 'closed', code: 1006, reason: '' }, { type: 'wake' }).status.state, 'connecting')
  assert.equal(run(...up, { type: 'closed', code: 1012, reason: '' }, { type: 'wake' }).status.state, 'waiting')
  assert.deepEqual(run(...up, { type: 'wake' }).effects, [])
})

test('an open socket is probed when the network comes back, and not when the tab does', () => {
  assert.deepEqual(run(...up, { type: 'wake', network: true }).effects, ['probe'])
  assert.deepEqual(run(...up.slice(0, 3), { type: 'wake', network: true }).effects, [])
})

test('two regions that send a client to each other are followed slower and slower', () => {
  const hop = (to) => ({ type: 'closed', code: 4009, reason: 'REDIRECT:' + to, follow: to })
  const states = [1, 0, 1, 0, 1].map((_, i, all) =>
    run(...up.slice(0, 2), ...all.slice(0, i + 1).flatMap((to) => [located, hop(urls[to])])).status.state)
  assert.deepEqual(states, ['connecting', 'connecting', 'connecting', 'waiting', 'waiting'])
})

test('a state is never changed, and an event that says nothing new leaves the very status', () => {
  const frozen = (value) => Object.freeze(value)
  let state = frozen(initial)
  for (const event of [...up, { type: 'denied' }, { type: 'denied' }, { type: 'closed', code: 1006, reason: '' }, { type: 'silent' }]) {
    const before = state
    state = frozen(reduce(state, event, world)[0])
    if (event.type === 'denied' && before.status.readOnly) assert.equal(state.status, before.status)
  }
})
