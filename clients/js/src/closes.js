import { codes } from './codes.js'

/**
 * What each close code asks of a client. The codes are the service's contract; y-websocket by itself would retry all
 * of them forever.
 *
 * @typedef {{ do: import('./codes.js').Action, base: number, asked: boolean }} Verdict
 *   base: the first wait before a retry, in milliseconds. asked: the server asked for that wait, so that nothing (a tab
 *   that wakes up, a network that returns) may shorten it.
 */

export const MISSING_TOKEN = 4001
export const INVALID_TOKEN = 4002
export const FORBIDDEN = 4003
export const INVALID_NAME = 4007
export const REDIRECT = 4009
export const OVERLOADED = 1013
export const TOO_LARGE = 1009
export const LOST = 1006

const known = new Map(codes.map(([code, action, wait]) => [code, { action, wait }]))

/**
 * @param {number} code
 * @returns {Verdict}
 */
export const verdict = (code) => {
  // 4400–4499: y-websocket's own convention for "do not come back".
  const { action, wait } = known.get(code) ?? { action: code > 4399 && code < 4500 ? 'stop' : 'retry', wait: 0 }
  return { do: action, base: wait || 400, asked: wait > 0 }
}

/**
 * A wait that doubles with every try up to 30 s, and of which up to half is random: clients that one node lost do not
 * come back in one instant.
 *
 * @param {number} base first wait, milliseconds
 * @param {number} tries how many waits there were before this one
 * @param {number} chance from 0 to 1
 */
export const backoff = (base, tries, chance) => Math.min(30_000, base * 2 ** tries) * (1 - chance / 2)
