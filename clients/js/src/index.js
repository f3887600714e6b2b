/**
 * Keeps y-websocket's provider connected to the region where a document lives.
 *
 * @module
 */
import { WebsocketProvider } from 'y-websocket'
import { backoff, verdict, INVALID_TOKEN, LOST, MISSING_TOKEN, OVERLOADED, REDIRECT } from './closes.js'
import { atlas, discover, pathOf } from './regions.js'
import { claimsOf, readOnly, tokenSource } from './token.js'

/**
 * @typedef {object} Options
 * @property {Record<string, string> | string} regions
 *   The regions' URLs by name, in the order of preference: `{ 'eu-central-1': 'wss://eu-central-1.example.com' }`; or
 *   the only one's URL.
 * @property {string} documentName
 * @property {import('yjs').Doc} doc
 * @property {import('./token.js').GetToken} getToken
 *   Called for the first connection and after `disconnect()`; with `force` shortly before a token expires, and when the
 *   server refused the one it gave. Nothing (null, undefined, '') means that nobody is signed in: the connection stops
 *   with 4001. A rejection, or no answer within 15 s (`signal` tells), is taken for a passing trouble and tried again.
 * @property {'discovery' | 'catch'} [strategy]
 *   'discovery' (the default) asks where the document lives, then connects. 'catch' connects to the nearest region and
 *   follows the redirect, if any: one round trip fewer for most documents, one more for the others.
 * @property {boolean} [connect] false: wait for `connection.connect()`. Default true.
 * @property {boolean} [broadcastChannel]
 *   true: tabs of one browser also exchange edits directly, scoped by the token's license region, tenant and app.
 *   Default false: everything goes through the server, which knows who may read and write what.
 * @property {WebsocketProvider['awareness']} [awareness] Default: one made for the document.
 * @property {any} [WebSocketPolyfill] For Node before version 22: the `ws` package's WebSocket.
 * @property {typeof fetch} [fetch]
 * @property {(url: string) => boolean} [trust]
 *   Asked before the token is sent to a region that is not in `regions` (a redirect, a discovery answer). Default: any
 *   `wss:` URL.
 */

/**
 * @typedef {'connecting' | 'synced' | 'waiting' | 'stopped' | 'closed'} State
 *   connecting: finding the region, opening, first exchange. synced: connected, and everything that the server knew is
 *   here. waiting: no connection; another try at `retryAt`. stopped: the server or the app said no, as `code` and
 *   `reason` tell; nothing happens until `connect()`. closed: `disconnect()` or `destroy()` was called, or `connect()`
 *   not yet.
 *
 * @typedef {object} Status An immutable snapshot.
 * @property {State} state
 * @property {string} region the region's name, or its host when it is not in `regions`; '' while it is not known
 * @property {number} code the close code that led here, 0 for none
 * @property {string} reason
 * @property {number} retryAt when the next try comes, in milliseconds since 1970; 0 outside 'waiting'
 * @property {boolean} readOnly the token allows only reading: edits made here stay here
 */

/**
 * @typedef {object} Connection
 * @property {WebsocketProvider} provider For editor bindings. Its connect, disconnect and destroy are the connection's.
 * @property {WebsocketProvider['awareness']} awareness
 * @property {import('yjs').Doc} doc
 * @property {Status} status the current one; the same object until something changes
 * @property {(listener: (status: Status) => void) => () => void} subscribe
 *   Calls listener on every change, until the returned function is called.
 * @property {() => Promise<void>} whenSynced
 *   Settles once the document is synced; rejects with an Error, whose `code` is the close code, when the connection
 *   stops or is closed before.
 * @property {() => void} connect Starts, or starts again at once after 'stopped', 'closed' or while 'waiting'.
 * @property {() => void} disconnect Ends the connection; document and awareness stay.
 * @property {() => void} destroy Ends it for good. Idempotent; also done by `doc.destroy()`.
 */

/** A session that lasted this long, in milliseconds, was a success: what went wrong before it is forgotten. */
const steady = 10_000
/** How long `getToken` may take, in milliseconds. */
const asking = 15_000
/** How long a socket may take to open, in milliseconds. */
const patience = 10_000
/** Redirects in a row that are followed at once; more than that are two regions that disagree. */
const freeHops = 3

/**
 * Connects a document. Returns at once; nothing is asked or opened before the next turn of the event loop, so that a
 * `destroy` right after it (React's StrictMode) leaves no trace.
 *
 * @param {Options} options
 * @returns {Connection}
 */
export const connect = (options) => {
  const { documentName, doc, getToken, strategy = 'discovery', trust = () => true } = options
  const regions = atlas(options.regions)
  const WebSocketPolyfill = options.WebSocketPolyfill ?? globalThis.WebSocket
  if (typeof documentName !== 'string') throw new TypeError('documentName: a string is needed')
  if (typeof getToken !== 'function') throw new TypeError('getToken: a function is needed')
  if (!WebSocketPolyfill) throw new TypeError('WebSocketPolyfill: there is no WebSocket here, pass one')

  const tokens = tokenSource(getToken)
  const provider = new WebsocketProvider(regions.list[0].url, pathOf(documentName), doc, {
    connect: false,
    disableBc: true,
    WebSocketPolyfill,
    ...(options.awareness && { awareness: options.awareness })
  })
  const inherited = WebsocketProvider.prototype

  /** @type {Set<(status: Status) => void>} */
  const listeners = new Set()
  /** The attempt under way; aborted when it is no longer wanted. */
  let turn = new AbortController()
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  let wanted = false
  let destroyed = false
  /** The server URL to use: where the document was last seen; '' when that is not known (any more). */
  let target = ''
  /** The place in the list of regions at which to start looking; -1: at the token's region. */
  let start = -1
  /** Look by connecting, although the strategy is discovery: its last answer led nowhere. */
  let blind = false
  let tries = 0
  let hops = 0
  let overloads = 0
  let refused = false
  /** The channel between tabs is wanted, and has a name of its own. */
  let scoped = false
  /** What is planned may happen sooner. */
  let shortenable = false
  let syncedAt = 0

  /** @param {Partial<Status>} change */
  const show = (change) => {
    const next = { ...connection.status, code: 0, reason: '', retryAt: 0, ...change }
    const keys = /** @type {(keyof Status)[]} */ (Object.keys(next))
    if (keys.every((key) => next[key] === connection.status[key])) return
    connection.status = Object.freeze(next)
    for (const listener of [...listeners]) {
      if (connection.status !== next) return // by a listener, and all have been told
      try {
        if (listeners.has(listener)) listener(next)
      } catch (error) {
        // The app's own trouble: reported as uncaught, without stopping the connection.
        setTimeout(() => { throw error }, 0)
      }
    }
  }

  /** Ends whatever is planned or under way, apart from an open socket. */
  const cancel = () => {
    turn.abort()
    clearTimeout(timer)
    shortenable = false
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  const stop = (code, reason) => {
    wanted = false
    cancel()
    part()
    tokens.stop()
    tokens.drop()
    show({ state: 'stopped', code, reason })
  }

  /**
   * @param {number} wait milliseconds
   * @param {number} [code]
   * @param {string} [reason]
   * @param {boolean} [hopeful] nobody asked for this wait: it ends when the network or the tab comes back
   */
  const again = (wait, code = 0, reason = '', hopeful = false) => {
    cancel()
    shortenable = hopeful
    timer = setTimeout(attempt, wait)
    show(wait
      ? { state: 'waiting', code, reason, retryAt: Date.now() + wait }
      : { state: 'connecting', code, reason })
  }

  /** The target failed: the next attempt looks further down the list. */
  const leave = () => {
    start = (regions.find(target) + 1) % regions.list.length
    target = ''
    blind = !blind
  }

  /** Whether the token may go there; a `trust` that throws does not say so. @param {string} url */
  const trusted = (url) => {
    try {
      return url && (regions.find(url) >= 0 || trust(url))
    } catch {
      return false
    }
  }

  /**
   * @param {string} token
   * @param {AbortSignal} signal
   */
  const locate = async (token, signal) => {
    const { list } = regions
    const first = start < 0 ? Math.max(0, regions.named(claimsOf(token).regionCode)) : start
    if (strategy === 'catch' || (blind && list.length > 1)) return list[first].url
    let failure
    let retryAfter = 0
    for (let i = 0; i < list.length; i++) {
      try {
        const url = regions.follow(
          await discover(options.fetch ?? fetch, list[(first + i) % list.length].url, documentName, token, signal))
        if (trusted(url)) return url
        failure = new Error('discovery: untrusted region')
      } catch (/** @type {any} */ error) {
        if (error.closeCode || signal.aborted) throw error
        retryAfter = Math.max(retryAfter, error.retryAfter ?? 0)
        failure = error
      }
    }
    throw Object.assign(failure, { retryAfter })
  }

  const attempt = async () => {
    const { signal } = turn = new AbortController()
    shortenable = false
    show({ ...connection.status, state: 'connecting', retryAt: 0 })
    if (signal.aborted) return // by a listener
    timer = setTimeout(() => again(backoff(400, tries++), 0, 'getToken: no answer', true), asking)
    try {
      const token = await tokens.get(signal)
      if (signal.aborted) return
      clearTimeout(timer)
      if (!token) return stop(MISSING_TOKEN, 'Missing token')
      // What no header and no subprotocol can hold, such as the page of a sign-in.
      if (!/^[\w.~+-]+$/.test(token)) throw { closeCode: INVALID_TOKEN, message: 'getToken: this is no token' }
      if (!target) target = await locate(token, signal)
      if (signal.aborted) return
      open(token, signal)
    } catch (/** @type {any} */ error) {
      if (signal.aborted) return
      const { closeCode, retryAfter = 0, message = String(error) } = error ?? {}
      if (closeCode === INVALID_TOKEN && !refused) return renew(message)
      if (closeCode) return stop(closeCode, message)
      again(Math.max(backoff(400, tries++), retryAfter * (1 + Math.random() / 5)), 0, message, !retryAfter)
    }
  }

  /** @param {string} reason */
  const renew = (reason) => {
    refused = true
    tokens.drop()
    again(0, INVALID_TOKEN, reason)
  }

  /**
   * @param {string} token
   * @param {AbortSignal} signal
   */
  const open = (token, signal) => {
    const claims = claimsOf(token)
    const region = regions.list[regions.find(target)]
    show({ ...connection.status, region: region ? region.name : target.split('/')[2], readOnly: readOnly(claims, documentName) })
    if (signal.aborted) return // by a listener
    provider.serverUrl = target
    provider.protocols = ['access_token', token]
    scope(claims)
    syncedAt = 0
    raise()
    timer = setTimeout(() => provider.ws?.close(), patience)
    try {
      inherited.connect.call(provider)
    } catch (error) {
      // An address that is none.
      provider.shouldConnect = false
      leave()
      throw error
    }
  }

  /** Raises the clock: peers that have removed this client would ignore its unchanged state. */
  const raise = () => {
    const { awareness } = provider
    if (awareness.getLocalState()) awareness.setLocalState(awareness.getLocalState())
  }

  /**
   * y-websocket's channel between tabs is named after URL and document: two tenants' documents of one name would merge.
   * It is joined when the server has let this session in.
   * @param {import('./token.js').Claims} claims
   */
  const scope = (claims) => {
    const names = [claims.dbCode ?? claims.licenseRegionCode, claims.tenantId ?? claims.tenantid, claims.appId]
    const channel = JSON.stringify(['wsnode', ...names, documentName])
    if (provider.bcChannel !== channel || connection.status.readOnly) part()
    provider.bcChannel = channel
    provider.disableBc = true
    scoped = Boolean(options.broadcastChannel) && names.every(Boolean)
  }

  /** Leaves the channel between tabs. */
  const part = () => {
    if (provider.bcconnected) provider.disconnectBc()
  }

  provider.on('status', (/** @type {{ status: string }} */ { status }) => {
    if (status === 'connected') clearTimeout(timer)
  })

  provider.on('sync', (/** @type {boolean} */ synced) => {
    if (!synced) return
    syncedAt = Date.now()
    blind = false
    overloads = 0
    // Other tabs would send on what the server does not take from this one.
    if (scoped && !connection.status.readOnly) {
      provider.disableBc = false
      provider.connectBc()
    }
    show({ state: 'synced' })
  })

  // The provider's own way to come back is switched off here, for this one close: its timer finds shouldConnect false.
  provider.on('connection-close', (/** @type {CloseEvent | null} */ event) => {
    provider.shouldConnect = false
    clearTimeout(timer)
    if (!wanted) return
    const { code, reason } = event?.code ? event : { code: LOST, reason: '' }
    const next = verdict(code)
    if (syncedAt && Date.now() - syncedAt > steady) {
      tries = hops = 0
      refused = false
    }
    if (next.do === 'stop') return stop(code, reason)
    if (next.do === 'renew') return refused ? stop(code, reason) : renew(reason)
    if (code === REDIRECT) {
      const url = regions.follow(reason.replace(/^REDIRECT:/, ''))
      if (trusted(url)) {
        target = url
        return again(++hops > freeHops ? backoff(400, tries++) : 0, code, reason)
      }
    }
    // A session that worked comes back to where it was. One that never did goes on to the next region, after a second
    // chance where the region only said that it has no room just now.
    if (!syncedAt && code !== 1012 && (code !== OVERLOADED || overloads++ % 2)) leave()
    again(backoff(next.base, tries++), code, reason, !next.asked)
  })

  // Read-only sessions learn that an edit was not taken; y-websocket only writes to the console.
  provider.messageHandlers[2] = () => {
    part()
    raise()
    show({ ...connection.status, readOnly: true })
  }

  /** The network or the tab came back: a wait that only hoped for that ends now. */
  const wake = () => {
    if (shortenable && globalThis.document?.visibilityState !== 'hidden') again(0)
  }
  const page = /** @type {[EventTarget | undefined, string][]} */ ([
    [globalThis, 'online'], [globalThis, 'pageshow'], [globalThis.document, 'visibilitychange']
  ])
  for (const [target, event] of page) target?.addEventListener?.(event, wake)

  const connection = {
    provider,
    awareness: provider.awareness,
    doc,
    status: /** @type {Status} */ (Object.freeze(
      { state: 'closed', region: '', code: 0, reason: '', retryAt: 0, readOnly: false })),
    /** @param {(status: Status) => void} listener */
    subscribe (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    whenSynced: () => new Promise((resolve, reject) => {
      /** @param {Status} status */
      const check = ({ state, code, reason }) => {
        if (state === 'synced') resolve(undefined)
        else if (wanted) return
        else reject(Object.assign(new Error(reason || state), { code }))
        listeners.delete(check)
      }
      listeners.add(check)
      check(connection.status)
    }),
    connect () {
      if (destroyed || (wanted && connection.status.state !== 'waiting')) return
      wanted = true
      refused = false
      tries = 0
      again(0)
    },
    disconnect () {
      wanted = false
      cancel()
      tokens.stop()
      inherited.disconnect.call(provider)
      show({ state: 'closed' })
    },
    destroy () {
      if (destroyed) return
      destroyed = true
      for (const [target, event] of page) target?.removeEventListener?.(event, wake)
      doc.off('destroy', connection.destroy)
      connection.disconnect()
      inherited.destroy.call(provider)
      if (!options.awareness) connection.awareness.destroy()
      listeners.clear()
    }
  }
  provider.connect = connection.connect
  provider.disconnect = connection.disconnect
  provider.destroy = connection.destroy
  doc.on('destroy', connection.destroy)
  if (options.connect !== false) connection.connect()
  return connection
}
