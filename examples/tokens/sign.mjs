/**
 * Tokens for wsnode, signed by a backend in Node 20 or later, without a library.
 */
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto'

const base64url = (value) => Buffer.from(value).toString('base64url')

/** Reads a P-256 key: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out operator.pem` makes one. */
export function readKey (pem) {
  const key = createPrivateKey(pem)
  const { kty, crv, x, y } = createPublicKey(key).export({ format: 'jwk' })
  if (crv !== 'P-256') throw new Error('expected a P-256 key')
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url') // RFC 7638
  return { key, kid, jwk: { kty, crv, x, y, kid, alg: 'ES256', use: 'sig' } }
}

/** The document that nodes verify tokens with; it holds no secret. */
export const keySet = ({ jwk }) => JSON.stringify({ keys: [jwk] })

/** Signs a token, by default for ten minutes: it is read when a client connects, not afterwards. */
export function signToken ({ key, kid }, { tenantId, appId, dbCode, ...more }, seconds = 600) {
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    aud: 'WireSocket.API', scope: 'WireSocket.API', iat: now, exp: now + seconds,
    tenantId, appId, dbCode, ...more
  }
  const signed = `${base64url(JSON.stringify({ alg: 'ES256', typ: 'JWT', kid }))}.${base64url(JSON.stringify(claims))}`
  return `${signed}.${sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}
