// What the tests of providers share: waiting, tokens, the clients of Hocuspocus.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import * as H2 from 'hocuspocus-2'
import * as H3 from 'hocuspocus-3'
import * as H4 from 'hocuspocus-4'
import WebSocket from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'

export const [first, second, elsewhere] = process.env.NODES.split(' ')
export const patience = Number(process.env.PATIENCE ?? 120_000)

/** Waits for what the network brings about. */
export const until = async (what, holds) => {
  const deadline = Date.now() + patience
  while (!await holds()) {
    if (Date.now() > deadline) throw new Error('never: ' + (typeof what === 'function' ? what() : what))
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/**
 * Asks a node over HTTP. Each time over a connection of its own: this process may be too
 * busy to see that the node closed one that was kept.
 */
export const ask = (node, path, { headers, ...options } = {}) =>
  fetch(node.replace('ws', 'http') + path, { ...options, headers: { ...headers, connection: 'close' } })

/** A token of the development issuer; parameters as in docs/dev-endpoints.md. */
export const tokenFor = async (parameters = {}) => {
  const answer = await ask(first, '/dev/token?' + new URLSearchParams(parameters))
  if (!answer.ok) throw new Error(await answer.text())
  return answer.text()
}

/** Steers the cluster: nodes/NAME/stop?how=drain, regions/NAME/cut … */
export const steer = async (what) => {
  const answer = await ask(elsewhere, '/dev/' + what, { method: 'POST' })
  if (!answer.ok) throw new Error(`${what}: ${await answer.text()}`)
}

/** Runs wsctl, and returns its exit code. */
export const wsctl = (...args) => promisify(execFile)(process.env.WSCTL, ['--nats-url', process.env.NATS, ...args])
  .then(() => 0, (error) => { if (typeof error.code === 'number') return error.code; throw error })

export const versions = { '2.15': H2, '3.4': H3, '4.8': H4 }

/** One socket of a version of Hocuspocus' provider, and what came over it. */
export class Socket {
  constructor (version, url, options) {
    this.version = version
    this.connects = 0
    this.closes = []
    const socket = this
    class Counted extends WebSocket {
      constructor (address) {
        super(address)
        socket.connects++
        this.on('error', () => {}) // version 3 ends attempts of its own, at which ws throws unless somebody listens
        this.on('close', (code, reason) => socket.closes.push(`${code} ${reason}`))
      }
    }
    this.provider = new versions[version].HocuspocusProviderWebsocket({ url, WebSocketPolyfill: Counted, quiet: true, ...options })
    this.documents = []
  }

  /** A document on the socket, as an application opens one. */
  open (name, options) {
    const document = new Document(this, name, options)
    this.documents.push(document)
    return document
  }

  destroy () {
    for (const document of this.documents) document.destroy()
    this.provider.destroy()
  }
}

/** One document on a socket. */
export class Document {
  constructor (socket, name, { doc = new Y.Doc(), ...options } = {}) {
    this.socket = socket
    this.doc = doc
    this.granted = []
    this.denied = []
    this.stateless = []
    this.acknowledged = 0
    this.provider = new versions[socket.version].HocuspocusProvider({
      websocketProvider: socket.provider,
      name,
      document: doc,
      broadcast: false,
      onAuthenticated: () => this.granted.push(this.provider.authorizedScope),
      onAuthenticationFailed: ({ reason }) => this.denied.push(reason),
      onStateless: ({ payload }) => this.stateless.push(payload),
      onMessage: ({ message }) => {
        message.readVarString()
        if (message.readVarUint() === 8) this.acknowledged++
      },
      ...options
    })
    this.provider.attach?.() // version 2 does that itself
  }

  /** Authenticates anew, as an application does once it has a better token. */
  again (token) {
    this.provider.configuration.token = token
    if (this.provider.attach) {
      this.provider.detach()
      this.provider.attach()
    } else {
      this.provider.connect()
    }
  }

  get text () { return this.doc.getText('text').toString() }
  get users () { return users(this.provider.awareness) }
  saved () { return this.provider.synced && !this.provider.hasUnsyncedChanges }
  type (what) { type(this.doc, what) }

  destroy () {
    this.provider.destroy()
    this.doc.destroy()
  }

  toString () {
    const { synced, unsyncedChanges } = this.provider
    return JSON.stringify({ text: this.text, synced, unsyncedChanges, ...this, socket: undefined, doc: undefined, provider: undefined, connects: this.socket.connects, closes: this.socket.closes })
  }
}

export const type = (doc, what) => doc.getText('text').insert(doc.getText('text').length, what)
export const users = (awareness) => [...awareness.getStates().values()].map(({ user }) => user).filter(Boolean).sort().join()

/** A client that speaks y-websocket's wire. */
export class Partner {
  constructor (url, name, token) {
    this.doc = new Y.Doc()
    this.provider = new WebsocketProvider(url, name, this.doc, { protocols: ['access_token', token], WebSocketPolyfill: WebSocket, disableBc: true })
  }

  get text () { return this.doc.getText('text').toString() }
  get users () { return users(this.provider.awareness) }
  type (what) { type(this.doc, what) }

  destroy () {
    this.provider.destroy()
    this.doc.destroy()
  }
}
