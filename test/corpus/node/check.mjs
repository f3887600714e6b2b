// node check.mjs CASES.jsonl.gz ANSWERS.jsonl: judges a server's answers to the
// random cases with real Yjs. One line per case, in any order; one that lacks is
// a failure:
//
//   {"id": 0, "state": "<answer to SyncStep1 with an empty state vector>",
//    "sv": "<the server's state vector>",
//    "peers": ["<answer to SyncStep1 with the state vector of peer i>", …]}
//
// Ends with the line OK and status 0, or with what failed in which cases.
import * as Y from 'yjs'
import fs from 'fs'
import zlib from 'zlib'
import { dumpDoc, touch, svObj } from './dump.mjs'

const out = console.log
console.error = console.warn = console.log = () => {} // Yjs speaks of what it finds odd

const read = file => {
  const b = fs.readFileSync(file)
  return (file.endsWith('.gz') ? zlib.gunzipSync(b) : b).toString().trim().split('\n').map(l => JSON.parse(l))
}
const bytes = s => new Uint8Array(Buffer.from(s, 'base64'))
const shows = (d, c) => JSON.stringify(dumpDoc(d)) === JSON.stringify(c.json)
const sameSV = (sv, c) => JSON.stringify(svObj(sv)) === JSON.stringify(c.sv)

const failed = {}
const fail = (what, id) => (failed[what] ??= []).push(id)

const checkState = (c, state, sv) => {
  const d = touch(new Y.Doc())
  Y.applyUpdate(d, state)
  if (c.late.length === 0 && !sameSV(Y.encodeStateVector(d), c)) fail('state: Y.Doc sv wrong', c.id)
  const late = c.late.map(bytes)
  for (const u of late) Y.applyUpdate(d, u)
  if (!shows(d, c)) fail('state: wrong content', c.id)
  if (d.store.pendingStructs || d.store.pendingDs) fail('state: leaves pending structs/deletes', c.id)
  if (!sameSV(sv, c)) fail('sv: wrong', c.id)
  if (!sameSV(Y.encodeStateVectorFromUpdate(state), c)) fail('state: wrong sv in update', c.id)
  const m = touch(new Y.Doc())
  Y.applyUpdate(m, Y.mergeUpdates([state, ...c.log.map(bytes), ...late]))
  if (!shows(m, c)) fail('state: breaks Y.mergeUpdates', c.id)
}

// checkStructs holds the state to the log: every struct keeps its origin, its right
// origin, and its parent where it has no origins.
const checkStructs = (c, state) => {
  const { structs } = Y.decodeUpdate(state)
  if (structs.some((x, i) => i > 0 && x.id.client > structs[i - 1].id.client)) {
    fail('state: clients not in descending order', c.id)
  }
  const byClient = new Map()
  for (const x of structs) {
    if (!byClient.has(x.id.client)) byClient.set(x.id.client, [])
    byClient.get(x.id.client).push(x)
  }
  const id = i => i ? i.client + ':' + i.clock : '-'
  const parent = x => x.parent === null ? null : (x.parent instanceof Y.ID ? id(x.parent) : 'r' + x.parent) + '/' + x.parentSub
  for (const u of c.log) {
    for (const x of Y.decodeUpdate(bytes(u)).structs) {
      if (!(x instanceof Y.Item)) continue
      const have = find(byClient.get(x.id.client) ?? [], x.id.clock)
      if (have === null || have instanceof Y.Skip) return fail('state: struct missing', c.id)
      if (have instanceof Y.GC) continue
      const starts = have.id.clock === x.id.clock
      const origin = starts ? have.origin : { client: x.id.client, clock: x.id.clock - 1 }
      if (id(origin) !== id(x.origin) || id(have.rightOrigin) !== id(x.rightOrigin) || (starts && parent(have) !== parent(x))) {
        return fail('state: origin/rightOrigin/parent differ from log', c.id)
      }
    }
  }
}

// find returns the struct that holds a clock.
const find = (structs, clock) => {
  let lo = 0
  let hi = structs.length - 1
  while (lo <= hi) {
    const mid = (lo + hi) >> 1
    if (clock < structs[mid].id.clock) hi = mid - 1
    else if (clock >= structs[mid].id.clock + structs[mid].length) lo = mid + 1
    else return structs[mid]
  }
  return null
}

const checkPeers = (c, answers) => c.peers.forEach((p, i) => {
  for (const gc of [true, false]) {
    const d = touch(new Y.Doc({ gc }))
    for (const u of [p.state, answers[i], ...c.late]) Y.applyUpdate(d, bytes(u))
    if (!shows(d, c)) fail('peer diff: wrong content', c.id)
  }
})

const cases = read(process.argv[2])
const answers = new Map(read(process.argv[3]).map(a => [a.id, a]))
const size = { bytes: 0, yjsBytes: 0, jsCompactBytes: 0 }
for (const c of cases) {
  const a = answers.get(c.id)
  if (!a) {
    fail('missing', c.id)
    continue
  }
  try {
    const state = bytes(a.state)
    size.bytes += state.length
    size.yjsBytes += c.stateBytes
    size.jsCompactBytes += c.jsCompactBytes
    checkState(c, state, bytes(a.sv))
    checkStructs(c, state)
    checkPeers(c, a.peers)
  } catch (e) {
    fail('threw: ' + e.message.slice(0, 60), c.id)
  }
}
out(JSON.stringify({ cases: cases.length, ...size }))
for (const k in failed) out('FAIL', k, failed[k].length, failed[k].slice(0, 10).join(' '))
if (Object.keys(failed).length > 0) process.exit(1)
out('OK')
