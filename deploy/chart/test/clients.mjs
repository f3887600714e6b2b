// Real clients of a node: node clients.mjs write|read URL TOKEN. The first has two of
// them type to each other, the second has one read what they typed.
import { Client } from '../../../test/e2e/node/client.mjs'

const [what, url, token] = process.argv.slice(2)
const open = id => new Client(id, { url, name: 'kept', token })

// until resolves once the client's text is as expected.
const until = (client, expected) => new Promise((resolve, reject) => {
  const look = () => {
    if (client.text.toString() !== expected || !client.provider.synced) return
    clearTimeout(late)
    client.off('change', look)
    resolve()
  }
  const late = setTimeout(() => reject(new Error(`${client.id}: expected ${expected}, has ${JSON.stringify(client.dump())}`)), 60_000)
  client.on('change', look)
  look()
})

const clients = []
if (what === 'write') {
  const [ann, ben] = [open('ann'), open('ben')]
  clients.push(ann, ben)
  await Promise.all([until(ann, ''), until(ben, '')])
  ann.text.insert(0, 'hello')
  await until(ben, 'hello')
  ben.text.insert(5, ' there')
  await until(ann, 'hello there')
} else {
  clients.push(open('eve'))
  await until(clients[0], 'hello there')
}
clients.forEach(c => c.destroy())
