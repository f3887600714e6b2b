// node convert.mjs TRACE.json.gz OUT.ylog.gz [RELOAD]: makes Yjs updates of a trace
// of https://github.com/josephg/editing-traces, sequential or concurrent, as far as
// it stays in Unicode's basic plane. After each RELOAD transactions a sequential
// trace goes on under another client id, as after a page reload.
import * as Y from 'yjs'
import fs from 'fs'
import zlib from 'zlib'
import * as ylog from './ylog.mjs'

const edit = (doc, patches) => doc.transact(() => {
  const text = doc.getText('text')
  for (const [at, deleted, inserted] of patches) {
    if (deleted > 0) text.delete(at, deleted)
    if (inserted) text.insert(at, inserted)
  }
})

// open returns a document whose own edits are added to a log.
const open = (clientID, log) => {
  const doc = new Y.Doc()
  doc.clientID = clientID
  doc.on('update', (u, origin) => { if (origin !== 'remote') log.push(u) })
  return doc
}

const sequential = (trace, reload) => {
  const log = []
  let doc = open(1, log)
  if (trace.startContent) doc.getText('text').insert(0, trace.startContent)
  trace.txns.forEach((txn, i) => {
    if (i > 0 && i % reload === 0) {
      const next = open(1 + i / reload, log)
      Y.applyUpdate(next, Y.encodeStateAsUpdate(doc), 'remote')
      doc = next
    }
    edit(doc, txn.patches)
  })
  return log
}

// A concurrent transaction names those it knew of; each agent's own ones are among
// what its next one knows.
const concurrent = trace => {
  const log = []
  const docs = Array.from({ length: trace.numAgents }, (_, i) => open(1 + i, log))
  const heard = docs.map(() => new Set())
  const updates = [] // by transaction
  const hear = (agent, txns) => {
    const missing = []
    for (const todo = [...txns]; todo.length > 0;) {
      const i = todo.pop()
      if (heard[agent].has(i)) continue
      heard[agent].add(i)
      missing.push(i)
      todo.push(...trace.txns[i].parents)
    }
    missing.sort((a, b) => a - b)
    for (const i of missing) for (const u of updates[i]) Y.applyUpdate(docs[agent], u, 'remote')
  }
  trace.txns.forEach(({ agent, parents, patches }, i) => {
    hear(agent, parents)
    const before = log.length
    edit(docs[agent], patches)
    updates.push(log.slice(before))
    heard[agent].add(i)
  })
  return log
}

const [from, to, reload] = process.argv.slice(2)
const bytes = fs.readFileSync(from)
const trace = JSON.parse(from.endsWith('.gz') ? zlib.gunzipSync(bytes) : bytes)
const log = trace.kind === 'concurrent' ? concurrent(trace) : sequential(trace, Number(reload ?? Infinity))
ylog.write(to, log)
const doc = new Y.Doc()
for (const u of log) Y.applyUpdate(doc, u)
const end = doc.getText('text').toString()
// Where people typed at one place at once, Yjs may choose another order.
console.log(`${to}: ${log.length} updates, ${end === trace.endContent ? 'the' : 'not the'} trace's own final text`)
