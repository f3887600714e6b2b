/**
 * What docs/clients.md and the package's README say is what the package does.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { WebSocket } from 'ws'
import * as Y from 'yjs'
import { verdict } from '../src/closes.js'
import { connect } from '../src/index.js'
import { jwt } from './lab.js'
import { Region } from './region.js'

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8')
const docs = read('../../../docs/clients.md')
const snippet = (name) => new RegExp('^```js run=' + name + '\\n([^]*?)^```$', 'm').exec(docs)[1]

/** Every code that a server of this service closes with (4403: an operator's, for good), and a lost connection. */
const codes = [1003, 1006, 1007, 1009, 1012, 1013, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008, 4009, 4403]
const final = codes.filter((code) => verdict(code).do === 'stop')

/** Rows of a page's table of codes: what it says that the package does. */
const rows = (page, column) => Object.fromEntries([...page.matchAll(/^\| ((?:\d{4}|anything)[^|]*)\|(.*)\|$/gm)]
  .flatMap(([, which, rest]) => (which.startsWith('anything') ? ['1006'] : which.replace('4400–4499', '4403').match(/\d{4}/g)).map((code) => [code, rest.split('|')[column].trim()])))

for (const [name, page, column] of [['docs/clients.md', docs, 1], ['README.md', read('../README.md'), 0]]) {
  test(`${name} tells of every close code what the package does`, () => {
    const told = rows(page, column)
    for (const code of codes) {
      const { do: what, base } = verdict(code)
      const says = { stop: /^stops/, redirect: /^goes /, renew: /getToken/, retry: base === 5000 ? /2\.5–5 s/ : base === 400 ? /400 ms|0\.4 s/ : /0\.5–1 s|a second/ }
      assert.match(told[code] ?? '', says[what], `${code}: ${what} after ${base} ms`)
    }
  })
}

test('the plain client of the docs stops where the package stops', () => {
  const [, list] = /const final = \[(.*)\]/.exec(snippet('plain'))
  assert.deepEqual(list.split(', ').map(Number).sort(), final.filter((code) => code !== 4403)) // y-websocket itself stops with that
})

test('the user of the docs reads something in every state, and of every refusal what to do', () => {
  const place = { textContent: '' }
  let tell
  const run = snippet('message').replace(/^import .*$/m, '')
  new Function('open', 'document', run)(() => ({ subscribe: (listener) => { tell = listener } }), { querySelector: () => place })
  const shown = (status) => {
    place.textContent = 'unset'
    tell({ code: 0, readOnly: false, ...status })
    return place.textContent
  }
  for (const code of final) assert.match(shown({ state: 'stopped', code }), /sign in|no access|Try again|try again|name|too large|reload/, String(code))
  // The package stops with it when the new token is refused as well.
  assert.equal(shown({ state: 'stopped', code: 4002 }), 'Please sign in again.')
  for (const code of codes) assert.match(shown({ state: 'waiting', code }), /changes are kept/, String(code))
  assert.equal(shown({ state: 'synced' }), '')
  assert.match(shown({ state: 'synced', readOnly: true }), /read, but not change/)
  assert.equal(shown({ state: 'connecting', code: 4009 }), '')
})

test("the README's example connects", async (t) => {
  const region = await new Region('us-east-1').start()
  t.after(() => region.kill())
  const [, code] = /^```js\n([^]*?)^```$/m.exec(read('../README.md'))
  const asked = []
  const app = (url) => { asked.push(url); return new Response(jwt({ regionCode: 'us-east-1' })) }
  const connection = new Function('Y', 'connect', 'fetch', code.replace(/^import .*$/gm, '')
    .replaceAll('wss://us-east-1.example.com', region.url) + 'return connection')(
    Y, (options) => connect({ ...options, WebSocketPolyfill: WebSocket }), app)
  t.after(() => connection.doc.destroy())
  await connection.whenSynced()
  assert.equal(connection.status.region, 'us-east-1')
  assert.equal(connection.awareness.getLocalState().user.name, 'Ada')
  assert.deepEqual(asked, ['/api/sync-token'])
})
