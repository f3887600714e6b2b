/**
 * A client in a laboratory: sockets and fetch are fakes that the test drives, time is virtual, chance is off.
 */
import { mock } from 'node:test'
import * as Y from 'yjs'
import { connect } from '../src/index.js'

export const frames = {
  /** SyncStep2 of an empty document: the provider is synced. */
  synced: new Uint8Array([0, 1, 2, 0, 0]),
  /** auth, permission denied, "no" */
  denied: new Uint8Array([2, 0, 2, 110, 111])
}

/** Lets promises settle; no virtual time passes. */
export const settle = () => new Promise((resolve) => setImmediate(resolve))

/** @param {object} claims */
export const jwt = (claims = {}) => {
  const now = Math.floor(Date.now() / 1000)
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'ES256' })}.${part({
    tenantId: 'acme', appId: 'notes', dbCode: 'aws-eu-west-1', iat: now, exp: now + 3600, ...claims
  })}.c2ln`
}

/**
 * @param {import('node:test').TestContext} t
 * @param {Partial<import('../src/index.js').Options>} options
 * @param {(url: URL, init: RequestInit) => [number, object?, object?]} answer what a request to discovery gets
 */
export const lab = (t, options = {}, answer = () => [503]) => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1_700_000_000_000 })
  t.mock.method(Math, 'random', () => 0)

  const sockets = []
  class Socket {
    OPEN = 1
    readyState = 0
    sent = []
    constructor (url, protocols) {
      this.url = new URL(url).href
      this.protocols = protocols
      sockets.push(this)
    }

    send (data) { this.sent.push(data) }
    receive (data) { this.onmessage?.({ data: data.slice().buffer }) }
    open () { this.readyState = 1; this.onopen?.({}) }
    sync () { this.open(); this.receive(frames.synced) }
    close () { if (this.readyState < 2) this.end(1006) }
    end (code, reason = '') { this.readyState = 3; this.onclose?.({ code, reason }) }
    /** A handshake that the server accepts and then refuses. */
    refuse (code, reason) { this.open(); this.end(code, reason) }
  }

  const asked = []
  const fetch = async (url, init) => {
    asked.push(url)
    const [status, body = {}, headers = {}] = answer(new URL(url), init) ?? [500]
    if (status === 0) throw new TypeError('fetch failed')
    return new Response(JSON.stringify(body), { status, headers })
  }

  const tokens = []
  const doc = new Y.Doc()
  const connection = connect({
    regions: { eu: 'wss://eu.example', us: 'wss://us.example', ap: 'wss://ap.example' },
    documentName: 'todo',
    doc,
    strategy: 'catch',
    getToken: (request) => { tokens.push(request); return jwt({ n: tokens.length }) },
    WebSocketPolyfill: Socket,
    fetch,
    ...options
  })
  const seen = []
  connection.subscribe((status) => seen.push(status))
  t.after(() => {
    connection.destroy()
    doc.destroy()
    mock.timers.reset()
  })
  return {
    connection,
    doc,
    sockets,
    asked,
    tokens,
    /** every status so far */
    seen,
    states: () => seen.map(({ state }) => state),
    get socket () { return sockets.at(-1) },
    hosts: () => sockets.map(({ url }) => new URL(url).host),
    async pass (ms) {
      mock.timers.tick(ms)
      await settle()
      mock.timers.tick(0)
      await settle()
    }
  }
}
