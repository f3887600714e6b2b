/**
 * Keeps a provider connected to the region where a document lives. What happens next is decided in machine.js; here it
 * is done.
 */
import { INVALID_TOKEN, LOST, MISSING_TOKEN, REDIRECT } from './closes.js'
import { initial, reduce, savedIs } from './machine.js'
import { prober } from './probe.js'
import { atlas, discover, pathOf } from './regions.js'
import { savedTracker } from './saved.js'
import { statusTeller } from './statuses.js'
import { tabsChannel } from './tabs.js'
import { claimsOf, readOnly, tokenSource } from './token.js'

/** @typedef {import('y-websocket').WebsocketProvider} Provider */

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
 * @property {Provider['awareness']} [awareness] Default: one made for the document.
 * @property {any} [WebSocketPolyfill] For Node before version 22: the `ws` package's WebSocket.
 * @property {typeof fetch} [fetch]
 * @property {boolean} [warnBeforeUnload]
 *   true: a page with edits that are not saved asks before it is left. Default false.
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
 * @property {boolean} saved
 *   the server has said that everything in the document is durable: it survives the death of any node. false before the
 *   first answer, and from each edit until its own.
 */

/**
 * @typedef {object} Connection
 * @property {Provider} provider For editor bindings. Its connect, disconnect and destroy are the connection's.
 * @property {Provider['awareness']} awareness
 * @property {import('yjs').Doc} doc
 * @property {Status} status the current one; the same object until something changes
 * @property {(listener: (status: Status) => void) => () => void} subscribe
 *   Calls listener on every change, until the returned function is called.
 * @property {() => Promise<void>} whenSynced
 *   Settles once the document is synced; rejects with an Error, whose `code` is the close code, when the connection
 *   stops or is closed before.
 * @property {() => Promise<void>} whenSaved
 *   Settles once everything in the document is durable; rejects as whenSynced does.
 * @property {() => void} connect Starts, or starts again at once after 'stopped', 'closed' or while 'waiting'.
 * @property {() => void} disconnect Ends the connection; document and awareness stay.
 * @property {() => void} destroy Ends it for good. Idempotent; also done by `doc.destroy()`.
 */

/** How long `getToken` may take, in milliseconds. */
const asking = 15_000
/** How long a socket may take to open, in milliseconds. */
const patience = 10_000

/**
 * Connects a document. Returns at once; nothing is asked or opened before the next turn of the event loop, so that a
 * `destroy` right after it (React's StrictMode) leaves no trace.
 *
 * @param {object} yjs of one version
 * @param {typeof import('y-websocket').WebsocketProvider} yjs.WebsocketProvider
 * @param {typeof import('yjs').encodeStateVector} yjs.encodeStateVector
 * @param {Options} options
 * @returns {Connection}
 */
export const connectWith = ({ WebsocketProvider, encodeStateVector }, options) => {
  const { documentName, doc, getToken, strategy = 'discovery', trust = () => true } = options
  const regions = atlas(options.regions, trust)
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
  const tabs = tabsChannel(provider, documentName, Boolean(options.broadcastChannel))
  const statuses = statusTeller(initial.status)
  const network = prober(provider, () => encodeStateVector(doc))

  let machine = initial
  let destroyed = false
  /** The attempt under way; aborted when it is no longer wanted. */
  let turn = new AbortController()
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  /** What the present attempt connects with. */
  let token = ''

  /**
   * Moves the machine. A listener that is told of it may move it further; then what it had in mind is not done any more.
   * @param {import('./machine.js').Event} event
   */
  const dispatch = (event) => {
    const [next, effects] = reduce(machine, event, {
      now: Date.now(), chance: Math.random(), regions: regions.list.length, find: regions.find
    })
    const { status } = machine
    machine = next
    for (const effect of effects) if (effect.do !== 'ask' && effect.do !== 'open') perform(effect)
    if (next.status !== status && !statuses.tell(next.status)) return
    for (const effect of effects) if (effect.do === 'ask' || effect.do === 'open') perform(effect)
  }

  /** What carries out the machine's effects. */
  const actions = {
    /** @param {{ after: number }} effect */
    try: ({ after }) => { timer = setTimeout(() => dispatch({ type: 'try' }), after) },
    halt () {
      turn.abort()
      clearTimeout(timer)
    },
    ask: () => ask(),
    open: () => open(),
    join: () => tabs.join(machine.status.readOnly),
    part: () => tabs.part(),
    raise: () => raise(),
    forget: () => tokens.stop(),
    dropToken: () => tokens.drop(),
    probe: () => network.probe(),
    close: () => inherited.disconnect.call(provider)
  }

  /** @param {import('./machine.js').Effect} effect */
  const perform = (effect) => actions[effect.do](/** @type {any} */ (effect))

  /** Gets the token, and finds out where to go. */
  const ask = async () => {
    const { signal } = turn = new AbortController()
    timer = setTimeout(() => dispatch({ type: 'silent' }), asking)
    try {
      const next = await tokens.get(signal)
      if (signal.aborted) return
      clearTimeout(timer)
      if (!next) throw { closeCode: MISSING_TOKEN, message: 'Missing token' }
      // What no header and no subprotocol can hold, such as the page of a sign-in.
      if (!/^[\w.~+-]+$/.test(next)) throw { closeCode: INVALID_TOKEN, message: 'getToken: this is no token' }
      token = next
      const target = machine.target || await locate(signal)
      if (signal.aborted) return
      const region = regions.list[regions.find(target)]
      dispatch({
        type: 'located', target, region: region ? region.name : target.split('/')[2], readOnly: readOnly(claimsOf(token), documentName)
      })
    } catch (/** @type {any} */ error) {
      if (signal.aborted) return
      clearTimeout(timer)
      const { closeCode, retryAfter, message = String(error) } = error ?? {}
      dispatch({ type: 'failed', code: closeCode, reason: message, retryAfter })
    }
  }

  /** Where the document lives, or the region that knows. @param {AbortSignal} signal */
  const locate = (signal) => {
    const { list, named } = regions
    const first = machine.start < 0 ? Math.max(0, named(claimsOf(token).regionCode)) : machine.start
    if (strategy === 'catch' || (machine.blind && list.length > 1)) return list[first].url
    return regions.locate(first, (url) => discover(options.fetch ?? fetch, url, documentName, token, signal), signal)
  }

  const open = () => {
    provider.serverUrl = machine.target
    provider.protocols = ['access_token', token]
    tabs.scope(claimsOf(token), machine.status.readOnly)
    raise()
    timer = setTimeout(() => provider.ws?.close(), patience)
    try {
      inherited.connect.call(provider)
    } catch (/** @type {any} */ error) { // an address that is none
      provider.shouldConnect = false
      clearTimeout(timer)
      dispatch({ type: 'failed', unreachable: true, reason: error?.message ?? String(error) })
    }
  }

  /** Raises the clock: clients that have removed this client would ignore its unchanged state. */
  const raise = () => {
    const { awareness } = provider
    if (awareness.getLocalState()) awareness.setLocalState(awareness.getLocalState())
  }

  const saved = savedTracker(provider, doc, (now) => {
    const { status } = machine = savedIs(machine, now)
    if (status !== statuses.current) statuses.tell(status)
  })

  provider.on('status', (/** @type {{ status: string }} */ { status }) => {
    if (status === 'connected') clearTimeout(timer)
  })

  provider.on('sync', (/** @type {boolean} */ synced) => {
    if (!synced) return
    dispatch({ type: 'synced' })
    saved.start()
  })

  // The provider's own way to come back is switched off here, for this one close: its timer finds shouldConnect false.
  provider.on('connection-close', (/** @type {CloseEvent | null} */ event) => {
    provider.shouldConnect = false
    saved.stop()
    network.stop()
    clearTimeout(timer)
    const { code, reason } = event?.code ? event : { code: LOST, reason: '' }
    const url = code === REDIRECT ? regions.follow(reason.replace(/^REDIRECT:/, '')) : ''
    dispatch({ type: 'closed', code, reason, follow: regions.trusted(url) ? url : '' })
  })

  // Read-only sessions learn that an edit was not taken; y-websocket only writes to the console.
  provider.messageHandlers[2] = () => dispatch({ type: 'denied' })

  /** The network or the tab came back: a wait that only hoped for that ends now. @param {globalThis.Event} event */
  const wake = ({ type }) => {
    if (globalThis.document?.visibilityState !== 'hidden') dispatch({ type: 'wake', network: type === 'online' })
  }
  const warn = (/** @type {globalThis.Event} */ event) => {
    if (options.warnBeforeUnload && saved.pending() > 0) event.preventDefault()
  }
  const page = /** @type {[EventTarget | undefined, string, (event: any) => void][]} */ ([
    [globalThis, 'online', wake], [globalThis, 'pageshow', wake], [globalThis.document, 'visibilitychange', wake],
    [globalThis, 'beforeunload', warn]
  ])
  for (const [target, event, listener] of page) target?.addEventListener?.(event, listener)

  /** @param {(status: Status) => boolean} reached */
  const when = (reached) => statuses.when(reached, () => machine.wanted)

  const connection = {
    provider,
    awareness: provider.awareness,
    doc,
    get status () { return statuses.current },
    subscribe: statuses.subscribe,
    whenSynced: () => when(({ state }) => state === 'synced'),
    whenSaved: () => when((status) => status.saved),
    connect () {
      if (!destroyed) dispatch({ type: 'connect' })
    },
    disconnect () {
      saved.stop()
      network.stop()
      dispatch({ type: 'disconnect' })
    },
    destroy () {
      if (destroyed) return
      destroyed = true
      for (const [target, event, listener] of page) target?.removeEventListener?.(event, listener)
      doc.off('destroy', connection.destroy)
      connection.disconnect()
      saved.destroy()
      inherited.destroy.call(provider)
      if (!options.awareness) connection.awareness.destroy()
      statuses.clear()
    }
  }
  provider.connect = connection.connect
  provider.disconnect = connection.disconnect
  provider.destroy = connection.destroy
  doc.on('destroy', connection.destroy)
  if (options.connect !== false) connection.connect()
  return connection
}
