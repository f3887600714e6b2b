// Writes the documents of y-websocket's LevelDB as a tar archive to standard output, for
// wsctl store import. Run it where the server ran, whose y-leveldb it uses; the server must
// not be running:
//
//   node dump.mjs ./dbDir | wsctl store import --from tar - --tenant acme --app notes --yes
//
// Each document is NAME.bin, a Yjs V1 update, with the name as it is.
import { createRequire } from 'node:module'
import { once } from 'node:events'

const require = createRequire(process.cwd() + '/')
const { LeveldbPersistence } = require('y-leveldb')
const Y = require('yjs')

const BLOCK = 512

function header (name, size, type) {
  const h = Buffer.alloc(BLOCK)
  const octal = (value, at, length) => h.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1')
  h.write(name, 0, 100)
  octal(0o644, 100, 8)
  octal(0, 108, 8) // user
  octal(0, 116, 8) // group
  octal(size, 124, 12)
  octal(0, 136, 12) // time
  h.fill(' ', 148, 156) // the checksum is counted as spaces
  h.write(type, 156, 'latin1')
  h.write('ustar\x0000', 257, 'latin1')
  const sum = h.reduce((a, b) => a + b, 0)
  h.write(sum.toString(8).padStart(6, '0') + '\0 ', 148, 'latin1')
  return h
}

// A record of a pax header: its length, which counts itself, then the field.
function record (field, value) {
  const rest = Buffer.byteLength(` ${field}=${value}\n`)
  let length = rest + 1
  while (String(length).length + rest !== length) length = String(length).length + rest
  return Buffer.from(`${length} ${field}=${value}\n`)
}

const padded = content => Buffer.concat([content, Buffer.alloc((BLOCK - content.length % BLOCK) % BLOCK)])

async function write (...parts) {
  for (const part of parts) {
    if (!process.stdout.write(part)) await once(process.stdout, 'drain')
  }
}

const [dir] = process.argv.slice(2)
if (!dir) {
  console.error('usage: node dump.mjs FOLDER > documents.tar')
  process.exit(2)
}
const persistence = new LeveldbPersistence(dir)
let count = 0
for (const name of (await persistence.getAllDocNames()).sort()) {
  const update = Buffer.from(Y.encodeStateAsUpdate(await persistence.getYDoc(name)))
  // Names are written as pax headers: they may be long, and hold any character.
  const path = record('path', name + '.bin')
  await write(header('pax', path.length, 'x'), padded(path), header(`${count}.bin`, update.length, '0'), padded(update))
  count++
}
await write(Buffer.alloc(2 * BLOCK))
await persistence.destroy()
console.error(`${count} documents`)
