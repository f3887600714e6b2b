// One socket of each version of Hocuspocus' provider with documents of two regions, while
// nodes of one of them end: $NODES are the URL of the other region, where the sockets are,
// and that of the region whose nodes end; $TOKEN serves both. Each line of input is
// answered by one: "go on" once every document had an edit acknowledged that was typed
// since; "end" once everything is everywhere. Anything wrong ends with an error.
import assert from 'node:assert/strict'
import { createInterface } from 'node:readline'
import { Partner, Socket, first as here, second as there, until, versions } from './lib.mjs'

process.setMaxListeners(0) // each provider has one
const token = process.env.TOKEN
const documents = 20

// Half of the documents are pinned there, the other half here.
const all = []
for (const version of Object.keys(versions)) {
  const socket = new Socket(version, here)
  for (let i = 0; i < documents; i++) {
    const name = `doc-${i}-${version}`
    const home = i % 2 === 0 ? there : here
    const partner = new Partner(home, name, token)
    await until(`${name} is pinned`, () => partner.provider.synced)
    all.push({ name, home, partner, socket, typed: 0 })
  }
}
for (const d of all) d.here = d.socket.open(d.name, { token })
const behind = (holds) => () => all.filter((d) => !holds(d)).map((d) => `${d.name} ${d.here}`).join('\n')
const each = (what, holds) => until(() => `${what}:\n${behind(holds)()}`, () => all.every(holds))
await each('all are in', (d) => d.here.saved())

const typing = setInterval(() => {
  for (const d of all) d.here.type(`${d.typed++},`)
}, 200)

const step = async (line) => {
  if (line === 'go on') {
    const before = all.map((d) => [d.typed, d.here.acknowledged])
    await each('acknowledged', (d) => {
      const [typed, acknowledged] = before[all.indexOf(d)]
      return d.typed > typed + 1 && d.here.acknowledged > acknowledged && d.partner.text.includes(`,${typed + 1},`)
    })
    return
  }
  clearInterval(typing)
  await each('everything is everywhere', (d) => d.here.saved() && d.partner.text === d.here.text)
  for (const d of all) {
    const expected = Array.from({ length: d.typed }, (_, i) => `${i},`).join('')
    assert.equal(d.here.text, expected, d.name)
    assert.deepEqual([d.here.granted, d.here.denied, d.socket.connects, d.socket.closes], [['read-write'], [], 1, []], `${d.name} ${d.here}`)
    if (d.socket.version !== '2.15') assert.equal(d.here.provider.unsyncedChanges, 0, d.name)
  }
  console.log(`${all.reduce((sum, d) => sum + d.typed, 0)} edits in ${all.length} documents`)
  for (const d of all) {
    d.partner.destroy()
    d.here.destroy()
  }
  for (const s of new Set(all.map((d) => d.socket))) s.destroy()
}

console.log('ready')
for await (const line of createInterface({ input: process.stdin })) {
  await step(line)
  if (line === 'end') process.exit()
  console.log('done')
}
