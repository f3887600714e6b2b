/**
 * Whether everything in a document is durable. The server is asked by message 102, which it returns once everything that
 * this session sent before is. One question is open at a time, and the next comes at the earliest after `pace`.
 */
const question = 102
const pace = 500

/**
 * @param {any} provider y-websocket's
 * @param {import('yjs').Doc} doc
 * @param {(saved: boolean) => void} tell
 */
export const savedTracker = (provider, doc, tell) => {
  /** Edits that did not come from the server, and how many of them it has said to be durable; -1: nothing at all. */
  let edits = 0
  let durable = -1
  /** The number of edits that the open question is about; -1: none is open. */
  let open = -1
  let ready = false
  let askedAt = -Infinity
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer

  const ask = () => {
    if (!ready || open >= 0 || durable === edits || provider.ws?.readyState !== 1) return
    clearTimeout(timer)
    const early = askedAt + pace - Date.now()
    if (early > 0) {
      timer = setTimeout(ask, early)
      return
    }
    open = edits
    askedAt = Date.now()
    // A varuint, and a byte array of four: what is in it is ours to choose.
    provider.ws.send(new Uint8Array([question, 4, open >> 24, open >> 16, open >> 8, open]))
  }

  provider.messageHandlers[question] = (/** @type {any} */ _, /** @type {{ arr: Uint8Array, pos: number }} */ { arr, pos }) => {
    const answered = arr[pos + 1] << 24 | arr[pos + 2] << 16 | arr[pos + 3] << 8 | arr[pos + 4]
    if (arr[pos] !== 4 || answered !== open) return
    durable = open
    open = -1
    if (durable === edits) tell(true)
    else ask()
  }

  // The provider listens longer, so that its update is on its way before the question.
  const edited = (/** @type {Uint8Array} */ _, /** @type {any} */ origin) => {
    if (origin === provider) return
    edits++
    tell(false)
    ask()
  }
  doc.on('update', edited)

  const tracker = {
    /** Edits made here that nobody has said to be durable. */
    pending: () => edits - Math.max(durable, 0),
    /** The session is synced: what was edited offline is on its way. */
    start () {
      ready = true
      open = durable = -1
      askedAt = -Infinity
      ask()
    },
    /** The session has ended, and with it the question. */
    stop () {
      ready = false
      open = -1
      clearTimeout(timer)
    },
    destroy () {
      tracker.stop()
      doc.off('update', edited)
    }
  }
  return tracker
}
