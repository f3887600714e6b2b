// Writes documents as other servers keep them: node foreign.mjs FOLDER, with a JSON array
// of names on standard input. Each holds a text that is its name. FOLDER/hocuspocus.sqlite
// is the database of Hocuspocus' SQLite extension, FOLDER/leveldb that of y-websocket.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import initSqlJs from 'sql.js'
import { LeveldbPersistence } from 'y-leveldb'
import { createRequire } from 'node:module'

const Y = createRequire(import.meta.url)('yjs') // the same one as y-leveldb's

const [folder] = process.argv.slice(2)
const names = JSON.parse(readFileSync(0, 'utf8'))

// As two users make it, one after the other.
function updates (name) {
  const doc = new Y.Doc()
  const all = []
  doc.on('update', u => all.push(u))
  doc.getText('text').insert(0, name)
  doc.getText('text').insert(name.length, '.')
  return all
}

const SQL = await initSqlJs()
const db = new SQL.Database()
// What Hocuspocus' extension runs when it starts.
db.run('CREATE TABLE IF NOT EXISTS "documents" ("name" varchar(255) NOT NULL, "data" blob NOT NULL, UNIQUE(name));')
const insert = db.prepare('INSERT INTO "documents" ("name", "data") VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET data = excluded.data')
const level = new LeveldbPersistence(join(folder, 'leveldb'))
for (const name of names) {
  const all = updates(name)
  insert.run([name, Y.mergeUpdates(all)])
  for (const u of all) await level.storeUpdate(name, u)
}
insert.free()
writeFileSync(join(folder, 'hocuspocus.sqlite'), db.export())
await level.destroy()
