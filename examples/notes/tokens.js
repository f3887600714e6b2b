/**
 * Tokens for the sync service. The key lives as long as this process; yours comes from a vault.
 */
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose'

const { privateKey, publicKey } = await generateKeyPair('ES256')
const jwk = await exportJWK(publicKey)
const kid = await calculateJwkThumbprint(jwk) // another key has another name, so nodes that know the last one ask again

/** What the nodes fetch: `--jwks-url`. */
export const jwks = JSON.stringify({ keys: [{ ...jwk, kid, alg: 'ES256', use: 'sig' }] })

/** A token with which a user may open one document. */
export const sign = (user, documentName) =>
  new SignJWT({
    scope: 'WireSocket.API',
    tenantId: 'example',
    appId: 'notes',
    dbCode: 'aws-eu-west-1',
    documents: [documentName]
  }).setProtectedHeader({ alg: 'ES256', kid })
    .setAudience('WireSocket.API').setSubject(user).setIssuedAt().setExpirationTime('10m')
    .sign(privateKey)
