/**
 * The statuses of a connection, and who is told of them. Each listener that is there is told of each status, unless a
 * listener has brought another one about meanwhile: of that all are told instead.
 *
 * @typedef {import('./connect.js').Status} Status
 *
 * @param {Status} first
 */
export const statusTeller = (first) => {
  /** @type {Set<(status: Status) => void>} */
  const listeners = new Set()

  const teller = {
    /** The one that was told last. */
    current: first,

    /** Tells of a status; false if a listener brought another one about. @param {Status} status */
    tell (status) {
      teller.current = status
      for (const listener of [...listeners]) {
        if (teller.current !== status) return false // by a listener, and all have been told
        try {
          if (listeners.has(listener)) listener(status)
        } catch (error) {
          // The app's own trouble: reported as uncaught, without stopping the connection.
          setTimeout(() => { throw error }, 0)
        }
      }
      return teller.current === status
    },

    /** @param {(status: Status) => void} listener */
    subscribe (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },

    /**
     * Settles once the status is as awaited; rejects when it is not, and nobody wants a connection any more.
     * @param {(status: Status) => boolean} reached
     * @param {() => boolean} wanted
     * @returns {Promise<void>}
     */
    when: (reached, wanted) => new Promise((resolve, reject) => {
      /** @param {Status} status */
      const check = (status) => {
        const { state, code, reason } = status
        if (reached(status)) resolve()
        else if (wanted()) return
        else reject(Object.assign(new Error(reason || state), { code }))
        listeners.delete(check)
      }
      listeners.add(check)
      check(teller.current)
    }),

    clear: () => listeners.clear()
  }
  return teller
}
