/**
 * Where to go: the regions the app knows, and what `/discovery` says about a document.
 */

/** Bad news from `/discovery`: the close code that says the same, or none when another try may help. */
export class DiscoveryError extends Error {
  /**
   * @param {string} message
   * @param {number} [closeCode]
   * @param {number} [retryAfter] milliseconds
   */
  constructor (message, closeCode, retryAfter = 0) {
    super(message)
    this.closeCode = closeCode
    this.retryAfter = retryAfter
  }
}

/** HTTP statuses that another try cannot change, as close codes. */
const refusals = /** @type {Record<number, number>} */ ({ 400: 4007, 401: 4002, 403: 4003 })

/**
 * The regions that the app knows, and where else its token may go.
 *
 * @param {Record<string, string> | string} regions
 * @param {(url: string) => boolean} trust asked about regions that are not among them
 */
export const atlas = (regions, trust) => {
  const list = Object.entries(typeof regions === 'string' ? { '': regions } : regions)
    .map(([name, url]) => ({ name, url: url.replace(/^http/, 'ws').replace(/\/+$/, '') }))
  if (!list.length) throw new TypeError('regions: at least one is needed')

  /** Of regions that live below one another the nearer one. @param {string} url */
  const find = (url) => list.reduce((best, region, i) =>
    (url + '/').startsWith(region.url + '/') && !(list[best]?.url.length >= region.url.length) ? i : best, -1)

  const known = {
    list,
    find,
    /** Whether the token may go there; a `trust` that throws does not say so. @param {string} url */
    trusted (url) {
      try {
        return Boolean(url) && (find(url) >= 0 || trust(url))
      } catch {
        return false
      }
    },
    /**
     * Asks one region after the other where a document lives, until one says so.
     * @param {number} first
     * @param {(url: string) => Promise<string>} ask
     * @param {AbortSignal} signal
     */
    async locate (first, ask, signal) {
      let failure
      let retryAfter = 0
      for (let i = 0; i < list.length; i++) {
        try {
          const url = known.follow(await ask(list[(first + i) % list.length].url))
          if (known.trusted(url)) return url
          failure = new Error('discovery: untrusted region')
        } catch (/** @type {any} */ error) {
          if (error.closeCode || signal.aborted) throw error
          retryAfter = Math.max(retryAfter, error.retryAfter ?? 0)
          failure = error
        }
      }
      throw Object.assign(failure, { retryAfter })
    },
    /**
     * What a redirect or a discovery answer points to, as a server URL for the provider, or '' when it must not be
     * followed: the token goes there, and never from an encrypted connection to an open one.
     * @param {string} url
     */
    follow (url) {
      const region = list[find(url)]
      if (region) return region.url
      return /^wss:\/\/./.test(url) || (/^ws:\/\/./.test(url) && list[0].url.startsWith('ws:')) ? url : ''
    },
    /** @param {unknown} name */
    named (name) {
      return list.findIndex((region) => region.name === name)
    }
  }
  return known
}

/**
 * The path of a document. Everything that a URL would change on its way is encoded, so that the server sees the very
 * name and can refuse it.
 *
 * @param {string} name
 */
export const pathOf = (name) => {
  const path = encodeURIComponent(name)
  return /(^|\/)\.{0,2}(\/|$)/.test(name) ? path : path.replace(/%2F/g, '/')
}

/**
 * @param {typeof fetch} request
 * @param {string} base a region's URL
 * @param {string} documentName
 * @param {string} token
 * @param {AbortSignal} signal
 * @returns {Promise<string>} where the document lives, or should
 */
export const discover = async (request, base, documentName, token, signal) => {
  const patience = new AbortController()
  const abort = () => patience.abort()
  const timer = setTimeout(abort, 5000)
  signal.addEventListener('abort', abort)
  try {
    const answer = await request(
      `${base.replace(/^ws/, 'http')}/discovery?documentName=${encodeURIComponent(documentName)}`,
      { headers: { Authorization: 'Bearer ' + token }, signal: patience.signal, cache: 'no-store', credentials: 'omit' }
    )
    const body = await answer.json().catch(() => ({}))
    if (answer.ok && body.url) return body.url
    throw new DiscoveryError(
      body.message || 'discovery: HTTP ' + answer.status,
      refusals[answer.status],
      Math.min(Number(answer.headers.get('Retry-After')) * 1000 || 0, 600_000)
    )
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  }
}
