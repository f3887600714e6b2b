// Makes yjs.json: random concurrent typing by Yjs itself, for the tests of Text.
// Run in test/peers, where Yjs is installed: node ../../clients/load/testdata/make.mjs > ../../clients/load/testdata/yjs.json
import { createRequire } from 'node:module'
const Y = createRequire(process.cwd() + '/')('yjs')

let seed = 7
const random = n => { seed = (seed * 48271) % 2147483647; return seed % n }
const cases = []
for (let run = 0; run < 40; run++) {
  const docs = [1, 2, 3].map(i => { const d = new Y.Doc({ gc: run % 2 === 0 }); d.clientID = run * 10 + i; return d })
  const updates = []
  for (const d of docs) d.on('update', u => updates.push(u))
  for (let step = 0; step < 60; step++) {
    const d = docs[random(3)]
    const t = d.getText('t')
    if (t.length > 0 && random(4) === 0) {
      const at = random(t.length)
      t.delete(at, Math.min(t.length - at, 1 + random(4)))
    } else {
      t.insert(random(t.length + 1), 'abcdefgh'.slice(random(8)))
    }
    if (random(5) === 0) Y.applyUpdate(docs[random(3)], Y.encodeStateAsUpdate(d))
  }
  const all = Y.mergeUpdates(updates)
  for (const d of docs) Y.applyUpdate(d, all)
  // Each update in the order of a shuffle: causes come after what they cause.
  const shuffled = updates.map(u => [random(1000), u]).sort((a, b) => a[0] - b[0]).map(p => p[1])
  cases.push({
    text: docs[0].getText('t').toString(),
    updates: shuffled.map(u => Buffer.from(u).toString('base64')),
    state: Buffer.from(Y.encodeStateAsUpdate(docs[run % 3])).toString('base64')
  })
}
console.log(JSON.stringify(cases))
