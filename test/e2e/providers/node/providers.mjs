// Each provider, unmodified, does what an application does with it, beside a
// client with y-websocket 3 on the other node of the region. $NODES holds the
// URLs of the region's nodes and of a node of another region, $TOKEN a token.
import { test } from 'node:test'
import { createYjsProvider } from '@y-sweet/client'
import * as Y14 from '@y/y'
import { WebsocketProvider as Provider4 } from '@y/websocket'
import WebSocket from 'ws'
import YPartyProvider from 'y-partyserver/provider'
import { WebsocketProvider as Provider1 } from 'y-websocket-1'
import { WebsocketProvider as Provider2 } from 'y-websocket-2'
import { WebsocketProvider as Provider3 } from 'y-websocket'
import * as Y from 'yjs'
// This source imports no Yjs, so that each provider here has its own.
import { connectWith } from '../../../../clients/js/src/connect.js'
import { followRedirects } from '../../../../clients/js/src/follow.js'
import { ask, elsewhere, first, patience, second, until } from './lib.mjs'

const token = process.env.TOKEN

/** y-websocket and its descendants with its constructor. */
const yWebsocket = (Provider, options) => (url, name, doc) => {
  const provider = new Provider(url, name, doc, { WebSocketPolyfill: WebSocket, disableBc: true, ...options })
  followRedirects(provider)
  return {
    provider,
    online: () => provider.connect(),
    offline: () => provider.disconnect(),
    connected: () => provider.wsconnected,
    at: () => provider.url
  }
}

const discovered = async (name) => {
  const answer = await ask(elsewhere, '/discovery?documentName=' + name, { headers: { Authorization: 'Bearer ' + token } })
  return (await answer.json()).url
}

/** @wsnode/client, by catching the redirect. */
const ours = (WebsocketProvider, { encodeStateVector }) => (url, name, doc) => {
  const connection = connectWith({ WebsocketProvider, encodeStateVector }, {
    regions: url, documentName: name, doc, getToken: () => token, strategy: 'catch', WebSocketPolyfill: WebSocket
  })
  return {
    provider: connection.provider,
    online: () => connection.connect(),
    offline: () => connection.disconnect(),
    connected: () => connection.status.state === 'synced',
    at: () => connection.provider.url,
    saved: () => connection.status.saved
  }
}

const providers = {
  'y-websocket 1.5': yWebsocket(Provider1, { params: { token } }),
  'y-websocket 2': yWebsocket(Provider2, { params: { token } }),
  'y-websocket 3': yWebsocket(Provider3, { protocols: ['access_token', token] }),
  '@y/websocket 4 with Yjs 14': Object.assign(yWebsocket(Provider4, { protocols: ['access_token', token] }), { Y: Y14 }),
  '@wsnode/client': ours(Provider3, Y),
  '@wsnode/client with Yjs 14': Object.assign(ours(Provider4, Y14), { Y: Y14 }),
  'y-partyserver': (url, name, doc) => {
    const { host } = new URL(url)
    const provider = new YPartyProvider(host, name, doc, {
      prefix: '/' + name, params: { token }, WebSocketPolyfill: WebSocket, disableBc: true
    })
    followRedirects(provider)
    return {
      provider,
      online: () => provider.connect(),
      offline: () => provider.disconnect(),
      connected: () => provider.wsconnected,
      at: () => provider.url
    }
  },
  // Its app names the server for each token, so that it can ask where the document lives.
  'y-sweet 0.9': (url, name, doc) => {
    let server = url
    const provider = createYjsProvider(doc, name, async () => ({ url: server, baseUrl: server, docId: name, token }), {
      WebSocketPolyfill: WebSocket, showDebuggerLink: false
    })
    provider.on('connection-close', async () => {
      const found = await discovered(name)
      server = found.slice(0, found.lastIndexOf('/'))
      provider.clientToken = null
    })
    return {
      provider,
      online: () => provider.connect(),
      offline: () => provider.disconnect(),
      connected: () => provider.status === 'connected',
      at: () => server,
      saved: () => !provider.hasLocalChanges
    }
  }
}

let documents = 0

for (const [title, open] of Object.entries(providers)) {
  test(title, { timeout: 5 * patience }, async (t) => {
    const name = 'provider-' + ++documents
    const text = (doc) => doc.getText ? doc.getText('text') : doc.get('text')
    const other = new Y.Doc()
    const partner = new Provider3(second, name, other, { protocols: ['access_token', token], WebSocketPolyfill: WebSocket, disableBc: true })
    t.after(() => { partner.destroy(); other.destroy() })
    await until('the partner is there', () => partner.synced)

    const doc = new (open.Y ?? Y).Doc()
    const client = open(elsewhere, name, doc) // where the document does not live
    const { provider } = client
    t.after(() => { provider.destroy(); doc.destroy() })
    await until('it was redirected to the region of the document', () => client.connected() && client.at().includes(new URL(first).host))

    const type = (into, what) => text(into).insert(text(into).length, what)
    const has = (in_, what) => () => read(text(in_)) === what
    const read = (type) => open.Y && type.doc === doc ? type.toJSON().children?.join('') ?? type.toString() : type.toString()

    type(other, 'one ')
    await until('what the partner typed arrives', has(doc, 'one '))
    type(doc, 'two ')
    await until('what it typed reaches the other node', has(other, 'one two '))
    if (client.saved) await until('it is told that all is saved', client.saved)

    provider.awareness.setLocalState({ user: 'ann' })
    partner.awareness.setLocalState({ user: 'bob' })
    const users = ({ awareness }) => [...awareness.getStates().values()].map(({ user }) => user).sort().join()
    await until('both see each other', () => users(provider) === 'ann,bob' && users(partner) === 'ann,bob')

    // y-sweet's connects once more if its loop of a former attempt still runs.
    await until('it has left for the partner', () => {
      client.offline()
      return users(partner) === 'bob'
    })
    type(doc, 'offline ')
    type(other, 'online ')
    client.online()
    await until('both have both', () => read(text(doc)) === text(other).toString() && text(other).toString().includes('offline ') && text(other).toString().includes('online '))
    await until('it is back for the partner', () => users(partner) === 'ann,bob')
    if (client.saved) await until('it is told again that all is saved', client.saved)
  })
}
