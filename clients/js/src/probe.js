/**
 * Whether an open socket still leads anywhere. A browser that changes networks may keep one from which nothing comes any
 * more; the provider takes it for dead after 30 s of silence.
 */

/** How long the server may take to answer, in milliseconds. */
const patience = 5000

/** @param {number} n @returns {number[]} lib0's variable-length integer */
const varUint = (n) => n < 128 ? [n] : [n & 127 | 128, ...varUint(n >>> 7)]

/**
 * @param {any} provider y-websocket's
 * @param {() => Uint8Array} stateVector of the document
 */
export const prober = (provider, stateVector) => {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  return {
    /** Asks what is new. If nothing comes, the provider's watchdog, which looks every 3 s, ends the socket. */
    probe () {
      const { ws, wsLastMessageReceived: before } = provider
      const known = stateVector()
      ws?.send(new Uint8Array([0, 0, ...varUint(known.length), ...known])) // SyncStep1 of y-protocols
      clearTimeout(timer)
      timer = setTimeout(() => {
        if (provider.ws === ws && provider.wsLastMessageReceived === before) provider.wsLastMessageReceived = 0
      }, patience)
    },
    /** The socket has ended, or is not wanted any more. */
    stop () {
      clearTimeout(timer)
    }
  }
}
