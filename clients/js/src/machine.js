/**
 * What a connection does next: a pure function of its state and an event. It opens nothing, keeps no time and asks no
 * chance; the effects that it returns are carried out by connect.js, which tells of their outcome by further events.
 */
import { backoff, verdict, INVALID_TOKEN, OVERLOADED, REDIRECT, TOO_LARGE } from './closes.js'

/**
 * @typedef {import('./index.js').Status} Status
 *
 * @typedef {object} Machine
 * @property {Status} status what the app sees
 * @property {boolean} wanted the app wants a connection
 * @property {string} target the server URL to use: where the document was last seen; '' when that is not known
 * @property {number} start the place in the list of regions at which to look first; -1: at the token's region
 * @property {boolean} blind look by connecting, although the strategy is discovery: its last answer led nowhere
 * @property {number} tries how often in a row it failed
 * @property {number} hops redirects in a row
 * @property {number} overloads refusals in a row for want of room
 * @property {boolean} refused the server refused the token, and a new one was asked for
 * @property {boolean} oversized a message was too large, and its content is sent once more, as the answer to a question
 * @property {boolean} hopeful nobody asked for the present wait: it ends when the network or the tab comes back
 * @property {number} syncedAt when this session was synced, in milliseconds since 1970; 0: not yet
 * @property {boolean} admitted the server has let a session in since the app asked for a connection
 *
 * @typedef {(
 *   { type: 'connect' } | { type: 'disconnect' } | { type: 'try' } | { type: 'silent' } |
 *   { type: 'wake', network: boolean } |
 *   { type: 'located', target: string, region: string, readOnly: boolean } |
 *   { type: 'failed', code?: number, reason: string, retryAfter?: number, unreachable?: boolean } |
 *   { type: 'synced' } | { type: 'denied' } |
 *   { type: 'closed', code: number, reason: string, follow?: string }
 * )} Event
 *   try: the time to try has come. silent: the app's getToken did not answer. located: the token is there, and where to
 *   go. failed: it is not; unreachable: nothing can be opened there. denied: an edit was refused. closed: the socket's
 *   end; follow: where its redirect leads, if the token may go there. wake: the network or the tab came back.
 *
 * @typedef {(
 *   { do: 'try', after: number } | { do: 'ask' } | { do: 'open' } | { do: 'halt' } | { do: 'forget' } |
 *   { do: 'join' } | { do: 'part' } | { do: 'raise' } | { do: 'close' } | { do: 'dropToken' } | { do: 'probe' }
 * )} Effect
 *   try: tell of a `try` after so many milliseconds. ask: for the token, and for where to go. halt: end what is planned
 *   or under way, but for an open socket. forget: the token, for the next may be another user's. join, part: the channel
 *   between tabs. raise: the clock of this client's presence. probe: ask the server for an answer, or end the socket.
 */

/** A session that lasted this long, in milliseconds, was a success: what went wrong before it is forgotten. */
const steady = 10_000
/** Redirects in a row that are followed at once; more than that are two regions that disagree. */
const freeHops = 3
/** First wait, in milliseconds, of who has been in and finds no place any more: one's own ghost is gone after a minute. */
const fullWait = 5000

/** @type {Machine} */
export const initial = {
  status: Object.freeze({ state: 'closed', region: '', code: 0, reason: '', retryAt: 0, readOnly: false, saved: false }),
  wanted: false,
  target: '',
  start: -1,
  blind: false,
  tries: 0,
  hops: 0,
  overloads: 0,
  refused: false,
  oversized: false,
  hopeful: false,
  syncedAt: 0,
  admitted: false
}

/**
 * @typedef {object} World what does not change, and what chance and the clock say
 * @property {number} now milliseconds since 1970
 * @property {number} chance from 0 to 1
 * @property {number} regions how many the app knows
 * @property {(url: string) => number} find the place of a URL's region in the list; -1: the app does not know it
 */

/**
 * @param {Machine} state
 * @param {Event} event
 * @param {World} world
 * @returns {[Machine, Effect[]]}
 */
export const reduce = (state, event, world) => {
  switch (event.type) {
    case 'connect':
      if (state.wanted && state.status.state !== 'waiting') return [state, []]
      return again({ ...state, wanted: true, refused: false, oversized: false, tries: 0 }, 0, world)
    case 'disconnect':
      return [show({ ...state, wanted: false, hopeful: false, admitted: false }, { state: 'closed' }),
        [{ do: 'halt' }, { do: 'forget' }, { do: 'close' }]]
    case 'try':
      return [show({ ...state, hopeful: false }, { ...state.status, state: 'connecting', retryAt: 0 }), [{ do: 'ask' }]]
    case 'silent':
      return retry(state, { base: 400, reason: 'getToken: no answer', hopeful: true }, world)
    case 'wake':
      if (state.hopeful) return again(state, 0, world)
      // Of a socket that the network took along nobody tells.
      return [state, event.network && state.status.state === 'synced' ? [{ do: 'probe' }] : []]
    case 'located':
      return [show({ ...state, target: event.target, syncedAt: 0 },
        { ...state.status, region: event.region, readOnly: event.readOnly }), [{ do: 'open' }]]
    case 'failed':
      return failed(event.unreachable ? leave(state, world) : state, event, world)
    case 'synced':
      return [show({ ...state, syncedAt: world.now, blind: false, overloads: 0, admitted: true }, { state: 'synced' }), [{ do: 'join' }]]
    case 'denied':
      return [show(state, { ...state.status, readOnly: true }), [{ do: 'part' }, { do: 'raise' }]]
    case 'closed':
      return state.wanted ? closed(state, event, world) : [state, []]
  }
}

/**
 * @param {Machine} state
 * @param {Partial<Status>} change code, reason and retryAt are those of the change alone
 */
const show = (state, change) => {
  const status = { ...state.status, code: 0, reason: '', retryAt: 0, ...change }
  const keys = /** @type {(keyof Status)[]} */ (Object.keys(status))
  return keys.every((key) => status[key] === state.status[key]) ? state : { ...state, status: Object.freeze(status) }
}

/**
 * Whether everything here is durable, as the server says.
 * @param {Machine} state
 * @param {boolean} saved
 */
export const savedIs = (state, saved) => show(state, { ...state.status, saved })

/**
 * @param {Machine} state
 * @param {number} after milliseconds
 * @param {World} world
 * @param {{ code?: number, reason?: string, hopeful?: boolean }} [why]
 * @returns {[Machine, Effect[]]}
 */
const again = (state, after, world, { code = 0, reason = '', hopeful = false } = {}) => [
  show({ ...state, hopeful }, after
    ? { state: 'waiting', code, reason, retryAt: world.now + after }
    : { state: 'connecting', code, reason }),
  [{ do: 'halt' }, { do: 'try', after }]
]

/**
 * @param {Machine} state
 * @param {{ base: number, atLeast?: number, code?: number, reason: string, hopeful: boolean }} why
 * @param {World} world
 */
const retry = (state, { base, atLeast = 0, ...why }, world) =>
  again({ ...state, tries: state.tries + 1 }, Math.max(backoff(base, state.tries, world.chance), atLeast), world, why)

/**
 * @param {Machine} state
 * @param {number} code
 * @param {string} reason
 * @returns {[Machine, Effect[]]}
 */
const stop = (state, code, reason) => [
  show({ ...state, wanted: false, hopeful: false, admitted: false }, { state: 'stopped', code, reason }),
  [{ do: 'halt' }, { do: 'part' }, { do: 'forget' }, { do: 'dropToken' }]
]

/**
 * @param {Machine} state
 * @param {string} reason
 * @param {World} world
 * @returns {[Machine, Effect[]]}
 */
const renew = (state, reason, world) => {
  const [next, effects] = again({ ...state, refused: true }, 0, world, { code: INVALID_TOKEN, reason })
  return [next, [{ do: 'dropToken' }, ...effects]]
}

/**
 * The target failed: the next attempt looks further down the list.
 * @param {Machine} state
 * @param {World} world
 */
const leave = (state, world) =>
  ({ ...state, start: (world.find(state.target) + 1) % world.regions, target: '', blind: !state.blind })

/**
 * @param {Machine} state
 * @param {{ code?: number, reason: string, retryAfter?: number }} event
 * @param {World} world
 */
const failed = (state, { code, reason, retryAfter = 0 }, world) => {
  if (code === INVALID_TOKEN && !state.refused) return renew(state, reason, world)
  if (code) return stop(state, code, reason)
  return retry(state, { base: 400, atLeast: retryAfter * (1 + world.chance / 5), reason, hopeful: !retryAfter }, world)
}

/**
 * @param {Machine} before
 * @param {{ code: number, reason: string, follow?: string }} event
 * @param {World} world
 * @returns {[Machine, Effect[]]}
 */
const closed = (before, { code, reason, follow }, world) => {
  let state = before
  if (state.syncedAt && world.now - state.syncedAt > steady) {
    state = { ...state, tries: 0, hops: 0, refused: false, oversized: false }
  }
  const next = verdict(code)
  switch (next.do) {
    case 'stop':
      // What is too large for one update may fit as the answer to a question, whose limit is the document's.
      if (code !== TOO_LARGE || state.oversized) return stop(state, code, reason)
      return retry({ ...state, oversized: true }, { base: next.base, code, reason, hopeful: false }, world)
    case 'full':
      if (!state.admitted) return stop(state, code, reason)
      return retry(state, { base: fullWait, code, reason, hopeful: false }, world)
    case 'renew':
      return state.refused ? stop(state, code, reason) : renew(state, reason, world)
  }
  if (code === REDIRECT && follow) {
    state = { ...state, target: follow, hops: state.hops + 1 }
    return state.hops > freeHops
      ? retry(state, { base: 400, code, reason, hopeful: false }, world)
      : again(state, 0, world, { code, reason })
  }
  // A session that worked comes back to where it was. One that never did goes on to the next region, after a second
  // chance where the region only said that it has no room just now.
  if (!state.syncedAt && code !== 1012) {
    const full = code === OVERLOADED
    if (!full || state.overloads % 2) state = leave(state, world)
    if (full) state = { ...state, overloads: state.overloads + 1 }
  }
  return retry(state, { base: next.base, code, reason, hopeful: !next.asked }, world)
}
