/**
 * Keeps y-websocket's provider connected to the region where a document lives.
 *
 * @module
 */
import { WebsocketProvider } from 'y-websocket'
import { encodeStateVector } from 'yjs'
import { connectWith } from './connect.js'

/**
 * @typedef {import('./connect.js').Options} Options
 * @typedef {import('./connect.js').Connection} Connection
 * @typedef {import('./connect.js').Status} Status
 * @typedef {import('./connect.js').State} State
 */

/**
 * Connects a document. Returns at once; nothing is asked or opened before the next turn of the event loop, so that a
 * `destroy` right after it (React's StrictMode) leaves no trace.
 *
 * @param {Options} options
 * @returns {Connection}
 */
export const connect = (options) => connectWith({ WebsocketProvider, encodeStateVector }, options)
