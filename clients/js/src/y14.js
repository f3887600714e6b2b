/**
 * The same for Yjs 14: keeps the provider of @y/websocket connected to the region where a document lives.
 *
 * @module
 */
// @ts-ignore: a peer that only users of Yjs 14 have
import { WebsocketProvider } from '@y/websocket'
// @ts-ignore: as above
import { encodeStateVector } from '@y/y'
import { connectWith } from './connect.js'

/**
 * Connects a document of `@y/y`, as `connect` of `@wsnode/client` does one of `yjs`.
 *
 * @param {Omit<import('./connect.js').Options, 'doc' | 'awareness'> & { doc: any, awareness?: any }} options
 * @returns {import('./connect.js').Connection}
 */
export const connect = (options) => connectWith(/** @type {any} */ ({ WebsocketProvider, encodeStateVector }), /** @type {any} */ (options))
