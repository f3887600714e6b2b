/**
 * y-websocket's channel between tabs of one browser. It is named after URL and document, so that two tenants' documents of
 * one name would merge; here its name has what the token says, too, and it is joined only when the server has let the
 * session in.
 *
 * @param {import('y-websocket').WebsocketProvider} provider
 * @param {string} documentName
 * @param {boolean} wanted
 */
export const tabsChannel = (provider, documentName, wanted) => {
  /** The channel is wanted, and has a name of its own. */
  let scoped = false

  const channel = {
    /**
     * Names the channel after a token, which is left if it is another one.
     * @param {import('./token.js').Claims} claims
     * @param {boolean} readOnly
     */
    scope (claims, readOnly) {
      const names = [claims.dbCode ?? claims.licenseRegionCode, claims.tenantId ?? claims.tenantid, claims.appId]
      const name = JSON.stringify(['wsnode', ...names, documentName])
      if (provider.bcChannel !== name || readOnly) channel.part()
      provider.bcChannel = name
      provider.disableBc = true
      scoped = wanted && names.every(Boolean)
    },

    /** Joins, unless the session may only read: others would send on what the server does not take from it. */
    join (/** @type {boolean} */ readOnly) {
      if (!scoped || readOnly) return
      provider.disableBc = false
      provider.connectBc()
    },

    part () {
      if (provider.bcconnected) provider.disconnectBc()
    }
  }
  return channel
}
