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
 * @param {Record<string, string> | string} regions
 */
export const atlas = (regions) => {
  const list = Object.entries(typeof regions === 'string' ? { '': regions } : regions)
    .map(([name, url]) => ({ name, url: url.replace(/^http/, 'ws').replace(/\/+$/, '') }))
  if (!list.length) throw new TypeError('regions: at least one is needed')

  /** Of regions that live below one another the nearer one. @param {string} url */
  const find = (url) => list.reduce((best, region, i) =>
    (url + '/').startsWith(region.url + '/') && !(list[best]?.url.length >= region.url.length) ? i : best, -1)

  return {
    list,
    find,
    /**
     * What a redirect or a discovery answer points to, as a server URL for the provider, or '' when it must not be
     * followed: the token goes there, and never from an encrypted connection to an open one.
     * @param {string} url
     */
    follow (url) {
      const known = list[find(url)]
      if (known) return known.url
      return /^wss:\/\/./.test(url) || (/^ws:\/\/./.test(url) && list[0].url.startsWith('ws:')) ? url : ''
    },
    /** @param {unknown} name */
    named (name) {
      return list.findIndex((region) => region.name === name)
    }
  }
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
