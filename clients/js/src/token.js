/**
 * The app's token, kept until it is about to expire.
 *
 * @typedef {Record<string, any>} Claims
 * @typedef {(request: { force: boolean, signal: AbortSignal }) => string | null | undefined | Promise<string | null | undefined>} GetToken
 */

/**
 * Reads a JWT's claims without checking its signature: the server checks, the client only plans with them. A token that
 * cannot be read has no claims.
 *
 * @param {string} token
 * @returns {Claims}
 */
export const claimsOf = (token) => {
  try {
    return Object(JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/'))))
  } catch {
    return {}
  }
}

/**
 * Whether a token lets its user only read the document: by the server's rule, of the entries that fit the most specific
 * decides, and of two that are equal the stricter.
 *
 * @param {Claims} claims
 * @param {string} documentName
 */
export const readOnly = ({ access, documents }, documentName) => {
  let best = -1
  let only = false
  for (const entry of Array.isArray(documents) ? documents : []) {
    const name = String(entry?.name ?? entry)
    const prefix = /^(.*\/)?(?=\*$)/.exec(name)?.[0]
    const fits = prefix === undefined ? name === documentName : documentName.startsWith(prefix)
    const weight = prefix?.length ?? Infinity
    if (!fits || weight < best) continue
    only = entry.access === 'readonly' || (weight === best && only)
    best = weight
  }
  return only || access === 'readonly'
}

/**
 * When to replace a token, in milliseconds from now: a minute before it expires, or at half its life when that is later
 * (tokens of a minute or two), but never in a tight loop. The lifetime comes from `iat` where this machine's clock cannot
 * be right.
 *
 * @param {Claims} claims
 */
export const renewIn = ({ exp, iat }) => {
  let life = exp - Date.now() / 1000
  if (iat < exp && !(life > 0 && life < exp - iat)) life = exp - iat
  return life > 0 ? Math.max(life - 60, life / 2, 5) * 1000 : Infinity
}

/**
 * @param {GetToken} getToken
 */
export const tokenSource = (getToken) => {
  let token = ''
  let renewAt = 0
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  let force = false
  /** The renewal ahead of time. */
  let renewal = new AbortController()

  const source = {
    /**
     * The token to use now; '' when the app has none.
     * @param {AbortSignal} signal
     */
    async get (signal) {
      if (!token || force || Date.now() >= renewAt) {
        const next = await getToken({ force, signal })
        if (!signal.aborted) source.keep(next || '')
      }
      return token
    },

    /** @param {string} next */
    keep (next) {
      source.stop()
      token = next
      force = false
      renewAt = Date.now() + renewIn(claimsOf(next))
      plan()
    },

    /** The server refused the token. */
    drop () {
      force = true
    },

    /** Ends what is planned and under way, and forgets the token: the next one may be another user's. */
    stop () {
      clearTimeout(timer)
      renewal.abort()
      token = ''
    }
  }

  /**
   * Renews ahead of time even while connected, so that a reconnect does not wait for the app's token endpoint. A longer
   * wait than setTimeout can hold is left to the next get.
   */
  const plan = () => {
    const wait = renewIn(claimsOf(token))
    if (wait < 2 ** 31) timer = setTimeout(ahead, wait)
  }

  const ahead = async () => {
    const { signal } = renewal = new AbortController()
    try {
      const next = await getToken({ force: true, signal })
      if (next && !signal.aborted) source.keep(next)
    } catch {
      if (!signal.aborted) plan()
    }
  }
  return source
}
