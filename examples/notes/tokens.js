/**
 * Tokens for the sync service. The key is in the file $KEY, or lives as long as this process; yours comes from a vault.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { calculateJwkThumbprint, exportJWK, SignJWT } from 'jose'

const privateKey = process.env.KEY
  ? createPrivateKey(await readFile(process.env.KEY))
  : generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const jwk = await exportJWK(createPublicKey(privateKey))
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
