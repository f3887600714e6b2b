// node --expose-gc measure.mjs FILE.ylog.gz: what a trace costs real Yjs, as one
// JSON line with the keys of `corpus trace`. Times are the best of several runs.
import * as Y from 'yjs'
import { read } from './ylog.mjs'

const log = read(process.argv[2])
const ns = f => {
  const start = process.hrtime.bigint()
  f()
  return Number(process.hrtime.bigint() - start)
}
const best = (times, f) => Math.min(...Array.from({ length: times }, f))
const apply = updates => {
  const d = new Y.Doc()
  for (const u of updates) Y.applyUpdate(d, u)
  return d
}

let doc
const applyNs = best(3, () => ns(() => { doc = apply(log) }))
const state = Y.encodeStateAsUpdate(doc)
const stale = Y.encodeStateVector(apply(log.slice(0, -10)))
const encodeNs = best(15, () => ns(() => Y.encodeStateAsUpdate(doc)))
const loadNs = best(15, () => ns(() => apply([state])))
const diffNs = best(15, () => ns(() => Y.encodeStateAsUpdate(doc, stale)))
const structs = [...doc.store.clients.values()].reduce((n, s) => n + s.length, 0)

doc = null
const heap = () => {
  for (let i = 0; i < 3; i++) global.gc()
  return process.memoryUsage().heapUsed + process.memoryUsage().external
}
const before = heap()
const docs = Array.from({ length: 8 }, () => apply([state]))
const heapBytes = Math.round((heap() - before) / docs.length)

process.stdout.write(JSON.stringify({
  updates: log.length,
  rawBytes: log.reduce((n, u) => n + u.length, 0),
  compactBytes: state.length,
  structs,
  applyNsPerUpdate: applyNs / log.length,
  encodeNs,
  encodeCachedNs: encodeNs,
  loadNs,
  diffNs,
  heapBytes
}) + '\n')
