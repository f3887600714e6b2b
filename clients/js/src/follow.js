/**
 * Redirects for any provider that y-websocket's descends from, without the rest of this package.
 *
 * @module
 */

/**
 * Sends a provider's next attempt to where its document lives. y-websocket 2 and later, and @y/websocket, make their URL
 * anew for each attempt, from `serverUrl`. y-websocket 1, y-partyserver and y-partykit have made it once and for all:
 * there the URL itself is replaced, and keeps its query, which holds the token.
 *
 * @param {any} provider
 * @param {string} reason the close reason: `REDIRECT:` and a URL
 */
export const follow = (provider, reason) => {
  const to = reason.replace(/^REDIRECT:/, '')
  if (!Object.hasOwn(provider, 'url')) {
    provider.serverUrl = to
    return
  }
  const url = new URL(to)
  // A reason that would be too long comes without the document.
  if (url.pathname === '/') url.pathname = provider.roomname
  url.search = new URL(provider.url).search
  provider.url = url.href
}

/**
 * Has a provider follow redirects until it is destroyed.
 *
 * @param {any} provider
 * @param {(url: string) => boolean} [trust] asked before the token is sent there. Default: any encrypted URL, and any from
 *   a connection that is not encrypted itself.
 */
export const followRedirects = (provider, trust) => {
  const plain = String(provider.url ?? provider.serverUrl).startsWith('ws:')
  const trusted = trust ?? ((url) => plain || url.startsWith('wss:'))
  // y-partyserver tells of its closes with an array.
  provider.on('connection-close', (/** @type {any} */ told) => {
    const event = Array.isArray(told) ? told[0] : told
    if (event?.code === 4009 && trusted(event.reason.replace(/^REDIRECT:/, ''))) follow(provider, event.reason)
  })
}
