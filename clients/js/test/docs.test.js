/**
 * What docs/clients.md and the package's README say is what the package does.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { WebSocket } from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { codes as table } from '../src/codes.js'
import { verdict } from '../src/closes.js'
import { connect } from '../src/index.js'
import { jwt } from './lab.js'
import { Region } from './region.js'

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8')
const docs = read('../../../docs/clients.md')
const snippet = (name) => new RegExp('^```js run=' + name + '\\n([^]*?)^```$', 'm').exec(docs)[1]

/** Every code that the documents speak of: two more mean a client's own fault. */
const codes = table.map(([code]) => code).filter((code) => code !== 1002 && code !== 1008)
const final = codes.filter((code) => ['stop', 'full'].includes(verdict(code).do))

/** Rows of a page's table of codes: what it says that the package does. */
const rows = (page, column) => Object.fromEntries([...page.matchAll(/^\| ((?:\d{4}|anything)[^|]*)\|(.*)\|$/gm)]
  .flatMap(([, which, rest]) => (which.startsWith('anything') ? ['1006'] : which.replace('4400–4499', codes.filter((code) => code >= 4400 && code <= 4499).join()).match(/\d{4}/g)).map((code) => [code, rest.split('|')[column].trim()])))

for (const [name, page, column] of [['docs/clients.md', docs, 1], ['README.md', read('../README.md'), 0]]) {
  test(`${name} tells of every close code what the package does`, () => {
    const told = rows(page, column)
    for (const code of codes) {
      const { do: what, base } = verdict(code)
      const says = { stop: code === 1009 ? /once more/ : /^stops/, full: /^stops; .* 5 s/, redirect: /^goes /, renew: /getToken/, retry: base === 5000 ? /2\.5–5 s/ : base === 400 ? /400 ms|0\.4 s/ : /0\.5–1 s|a second/ }
      assert.match(told[code] ?? '', says[what], `${code}: ${what} after ${base} ms`)
    }
  })
}

test('docs/protocol.md asks of every client what the package does', () => {
  const told = rows(read('../../../docs/protocol.md'), 3)
  for (const code of codes) {
    const says = { stop: /^stops/, full: /^stops/, redirect: /^connects to that URL/, renew: /^gets a new token/, retry: /^(waits|comes back)/ }
    assert.match(told[code] ?? '', says[verdict(code).do], String(code))
  }
})

test('the plain client of the docs stops where the package stops', () => {
  const [, list] = /const final = \[(.*)\]/.exec(snippet('plain'))
  assert.deepEqual(list.split(', ').map(Number).sort(), final.filter((code) => code < 4400).sort()) // y-websocket itself stops with that
})

const until = async (check) => { while (!check()) await new Promise((resolve) => setTimeout(resolve, 5)) }

test('the plain client of the docs follows redirects, renews a refused token once, and stops', { timeout: 300_000 }, async (t) => {
  const pins = new Map()
  const [eu, us] = [await new Region('eu', pins).start(), await new Region('us', pins).start()]
  t.after(() => Promise.all([eu.kill(), us.kill()]))
  const tokens = []
  const app = async (url, ...rest) => {
    if (url !== '/api/sync-token') return fetch(url, ...rest)
    tokens.push('token-' + tokens.length)
    return new Response(tokens.at(-1))
  }
  class Provider extends WebsocketProvider {
    constructor (url, name, doc, options) { super(url, name, doc, { ...options, WebSocketPolyfill: WebSocket }) }
  }
  const run = new (async () => {}).constructor('Y', 'WebsocketProvider', 'fetch', 'document',
    snippet('plain').replace(/^import .*$/gm, '').replace('https://eu-central-1.example.com', eu.url.replace('ws', 'http')) + 'return provider')
  const provider = await run(Y, Provider, app, { querySelector: () => ({}) })
  t.after(() => { provider.destroy(); provider.doc.destroy() })
  await until(() => provider.synced)
  eu.move('minutes', us)
  await until(() => provider.synced && provider.url.startsWith(us.url))

  us.refuse = (url, token) => token === 'token-0' ? [4002, 'Invalid token: expired'] : undefined
  for (const socket of us.wss.clients) socket.terminate()
  await until(() => !provider.synced)
  await until(() => provider.synced)
  assert.deepEqual(tokens, ['token-0', 'token-1'])

  us.refuse = () => [4002, 'Invalid token: signature']
  for (const socket of us.wss.clients) socket.terminate()
  await until(() => tokens.length === 3 && provider.ws === null && !provider.shouldConnect)
  const { handshakes } = us
  await new Promise((resolve) => setTimeout(resolve, 1500))
  assert.deepEqual([us.handshakes, tokens.length], [handshakes, 3])
})

test('the keeper of the docs leaves nothing open when it is refused', { timeout: 300_000 }, async (t) => {
  const region = await new Region('eu').start()
  t.after(() => region.kill())
  region.refuse = () => [4003, 'Forbidden: document']
  let connection
  const keep = new Function('WebSocket', 'Y', 'connect', snippet('keeper').replace(/^import .*$/gm, '').replace('export const keep =', 'return'))(
    WebSocket, Y, (options) => { connection = connect(options); return connection })
  await assert.rejects(keep('minutes', { regions: region.url, getToken: () => jwt(), load: async () => null }), { code: 4003 })
  assert.equal(connection.status.state, 'closed')
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
