/**
 * node keys.mjs FOLDER makes a key that signs tokens, FOLDER/operator.pem, unless it is there, and the set for
 * `--jwks-file`, FOLDER/jwks.json. In production the key is a secret of your backend, and nobody else reads it.
 */
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { keySet, readKey } from './sign.mjs'

const folder = process.argv[2] ?? '.'
const file = join(folder, 'operator.pem')
if (!existsSync(file)) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }))
}
writeFileSync(join(folder, 'jwks.json'), keySet(readKey(readFileSync(file))))
