// One client of the service: a Y.Doc with a y-websocket provider, as an editor
// would hold it. Everything the server can be seen to do is remembered here.
import { createHash } from 'node:crypto'
import { EventEmitter } from 'node:events'
import WebSocket from 'ws'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import * as Y from 'yjs'
import { Awareness } from 'y-protocols/awareness'
import { WebsocketProvider } from 'y-websocket'
import { WebsocketProvider as WebsocketProvider2 } from 'y-websocket-2'

const providers = { 2: WebsocketProvider2, 3: WebsocketProvider }
const redirect = 'REDIRECT:'
const saved = 102 // asks whether all that was sent is saved, and is the answer

// How a token travels: what each way adds to the provider's arguments.
const ways = {
  subprotocol: (a, token) => { a.protocols.push('access_token', token) },
  bearer: (a, token) => { a.protocols.push('Bearer', token) },
  header: (a, token) => { a.headers.Authorization = `Bearer ${token}` },
  query: (a, token) => { a.params.token = token },
  access_token: (a, token) => { a.params.access_token = token },
  url: (a, token) => { a.url += `?token=${token}` },
  none: () => {}
}

// slowTimers has intervals that are begun from now on fire once a minute at most, as those
// of a tab in the background do. It returns what ends that.
const slowTimers = () => {
  const { setInterval } = globalThis
  globalThis.setInterval = (call, ms, ...args) => setInterval(call, Math.max(ms, 60_000), ...args)
  return () => { globalThis.setInterval = setInterval }
}

export class Client extends EventEmitter {
  constructor (id, options) {
    super()
    this.setMaxListeners(0)
    this.id = id
    this.doc = new Y.Doc({ gc: !options.keep })
    this.text = this.doc.getText('text')
    this.log = this.doc.getArray('log')
    this.typed = [] // every edit made here, by its name in log
    this.told = 0 // how many of them the server has said are saved
    this.clocks = new Map() // what the clock of the doc's client was when so many were typed, of questions that are open
    this.toldClock = 0
    this.closes = [] // {code, reason} of every close by the server
    this.errors = [] // handshakes that failed before a WebSocket was there
    this.subprotocol = null
    this.connects = 0
    this.doc.on('update', () => this.emit('change'))
    this.connectProvider(options)
  }

  // connectProvider puts a new provider on the same Y.Doc, as applications do
  // to use a new token or to follow a redirect.
  connectProvider (options) {
    this.options = { ...this.options, ...options }
    const { lib = 3, url, name, token = '', via = 'subprotocol', params, headers, user, follow, background } = this.options
    const args = { url, protocols: [], params: { ...params }, headers: { ...headers } }
    ways[token === '' ? 'none' : via](args, token)

    const client = this
    class Socket extends WebSocket {
      constructor (address, protocols) {
        super(address, protocols, { headers: args.headers })
        this.on('open', () => { client.subprotocol = this.protocol })
      }
    }
    const restore = background ? slowTimers() : () => {}
    this.awareness = new Awareness(this.doc)
    this.awareness.on('change', () => this.emit('change'))
    this.setUser(user)
    const provider = new providers[lib](args.url, name, this.doc, {
      awareness: this.awareness,
      protocols: args.protocols,
      params: args.params,
      WebSocketPolyfill: Socket,
      disableBc: true
    })
    restore()
    this.provider = provider
    provider.messageHandlers[saved] = (_, decoder) => {
      const answer = decoding.createDecoder(decoding.readVarUint8Array(decoder))
      const typed = decoding.readVarUint(answer)
      this.told = Math.max(this.told, typed)
      this.toldClock = Math.max(this.toldClock, this.clocks.get(typed) ?? 0)
      this.clocks.delete(typed)
    }
    provider.on('sync', () => this.emit('change'))
    provider.on('status', ({ status }) => {
      if (status === 'connected') this.connects++
      this.emit('change')
    })
    provider.on('connection-error', event => {
      this.errors.push(event.message ?? String(event))
      this.emit('change')
    })
    provider.on('connection-close', event => {
      if (event === null || provider !== this.provider) return
      this.closes.push({ code: event.code, reason: event.reason })
      this.emit('change')
      if (follow && event.code === 4009 && event.reason.startsWith(redirect)) {
        this.replace({ url: event.reason.slice(redirect.length) })
      }
    })
  }

  replace (options) {
    this.provider.destroy()
    this.awareness.destroy()
    this.connectProvider(options)
  }

  setUser (user) {
    this.awareness.setLocalState(user ? { user } : null)
  }

  users () {
    return [...this.awareness.getStates().values()].map(state => state.user).sort()
  }

  // edit is one transaction, so one update: a change of the text, and the
  // edit's name in the log, where nothing is ever deleted.
  edit (random) {
    const name = `${this.id}.${this.typed.length}`
    this.doc.transact(() => {
      const { text } = this
      if (text.length > 20 && random() < 0.4) {
        const from = Math.floor(random() * (text.length - 8))
        text.delete(from, 1 + Math.floor(random() * 8))
      } else {
        // Nothing outside the BMP: cutting a surrogate pair makes Yjs disagree with itself.
        const words = [name, 'a', 'été ', '漢字']
        text.insert(Math.floor(random() * (text.length + 1)), words[Math.floor(random() * words.length)])
      }
      this.log.push([name])
    })
    this.typed.push(name)
  }

  // ask asks whether everything typed so far is saved. Before the server has asked for
  // what it lacks, not all of it was sent.
  ask () {
    if (!this.provider.wsconnected || !this.provider.synced) return
    const typed = encoding.createEncoder()
    encoding.writeVarUint(typed, this.typed.length)
    this.clocks.set(this.typed.length, Y.getState(this.doc.store, this.doc.clientID))
    const question = encoding.createEncoder()
    encoding.writeVarUint(question, saved)
    encoding.writeVarUint8Array(question, encoding.toUint8Array(typed))
    this.provider.ws.send(encoding.toUint8Array(question))
  }

  startTyping (interval, random, asks) {
    this.typing = setInterval(() => {
      this.edit(random)
      if (asks) this.ask()
    }, interval)
  }

  stopTyping () {
    clearInterval(this.typing)
    return this.typed.length
  }

  // fingerprint is equal on two clients exactly when their documents are:
  // content, state vector and delete set.
  fingerprint () {
    return createHash('sha256')
      .update(JSON.stringify([this.text.toDelta(), this.log.toArray()]))
      .update(Y.encodeSnapshot(Y.snapshot(this.doc)))
      .digest('hex')
  }

  dump () {
    return {
      text: this.text.toString(),
      log: this.log.toArray(),
      typed: this.typed,
      fingerprint: this.fingerprint(),
      pending: this.doc.store.pendingStructs !== null || this.doc.store.pendingDs !== null,
      users: this.users(),
      clientID: this.doc.clientID,
      synced: this.provider.synced,
      connected: this.provider.wsconnected,
      connects: this.connects,
      url: this.provider.serverUrl,
      subprotocol: this.subprotocol,
      closes: this.closes,
      errors: this.errors
    }
  }

  destroy () {
    this.stopTyping()
    this.provider.destroy()
    this.awareness.destroy()
    this.doc.destroy()
  }
}
