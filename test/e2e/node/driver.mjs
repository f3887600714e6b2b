// The Node side of package yjs: requests arrive as JSON lines on standard
// input, {"id","do","client","args"}, and are answered on standard output with
// {"id","result"} or {"id","error"}. Requests do not wait for each other.
import { createInterface } from 'node:readline'
import { setImmediate as turn } from 'node:timers/promises'
import * as Y from 'yjs'
import { Client } from './client.mjs'

process.setMaxListeners(0)
const clients = new Map()
const promised = new Map() // by document, what clients that are gone were told is saved: names of edits, and clocks by Yjs client
const promisesOf = name => {
  if (!promised.has(name)) promised.set(name, { names: [], clocks: new Map(), holes: false })
  return promised.get(name)
}

// Late is what a wait ends with when its time is over: its text says it all.
class Late extends Error {}

function client (id) {
  const found = clients.get(id)
  if (found === undefined) throw new Error(`no client ${id}`)
  return found
}

// random is a small seeded generator (mulberry32), so that a run can be repeated.
function random (seed) {
  return () => {
    seed = (seed + 0x6D2B79F5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

// until resolves with the milliseconds it took until check() is true. It looks
// again whenever one of the clients changes; explain() tells what was there
// instead when the time is over.
function until (watched, ms, check, explain) {
  const start = performance.now()
  return new Promise((resolve, reject) => {
    let timer
    const finish = (settle, value) => {
      clearTimeout(timer)
      watched.forEach(c => c.off('change', look))
      settle(value)
    }
    const look = () => {
      if (check()) finish(resolve, performance.now() - start)
    }
    timer = setTimeout(() => finish(reject, new Late(`after ${ms} ms: ${explain()}`)), ms)
    watched.forEach(c => c.on('change', look))
    look()
  })
}

const show = c => {
  const { text, log, synced, connected, users, url, closes, errors } = c.dump()
  return JSON.stringify({
    client: c.id, url, synced, connected, users, text: text.slice(0, 200), edits: log.length, closes: closes.slice(-5), errors: errors.slice(-5)
  })
}

const operations = {
  open ({ id, ...options }) {
    clients.set(id, new Client(id, options))
  },
  replace ({ client: id, ...options }) {
    client(id).replace(options)
  },
  destroy ({ client: id }) {
    const c = client(id)
    const promises = promisesOf(c.options.name)
    promises.names.push(...c.typed.slice(0, c.told))
    promises.clocks.set(c.doc.clientID, c.toldClock)
    promises.holes ||= c.told < c.typed.length
    c.destroy()
    clients.delete(id)
  },
  disconnect ({ client: id }) {
    client(id).provider.disconnect()
  },
  connect ({ client: id }) {
    client(id).provider.connect()
  },
  user ({ client: id, user }) {
    client(id).setUser(user)
  },
  insert ({ client: id, at, text }) {
    const { text: target } = client(id)
    target.insert(at < 0 ? target.length : at, text)
  },
  delete ({ client: id, at, length }) {
    client(id).text.delete(at, length)
  },
  dump ({ client: id }) {
    return client(id).dump()
  },

  // snapshot returns what shows the document as it is now, later.
  snapshot ({ client: id }) {
    return Buffer.from(Y.encodeSnapshot(Y.snapshot(client(id).doc))).toString('base64')
  },
  // restore returns the text of the document as it was.
  restore ({ client: id, snapshot }) {
    const doc = Y.createDocFromSnapshot(client(id).doc, Y.decodeSnapshot(Buffer.from(snapshot, 'base64')))
    return doc.getText('text').toString()
  },

  // read applies an update to a new document and returns its text.
  read ({ update }) {
    const doc = new Y.Doc()
    Y.applyUpdate(doc, Buffer.from(update, 'base64'))
    return doc.getText('text').toString()
  },

  // lacks applies an update to a new document, and says which edits it lacks although
  // clients were told that they are saved, all of whom are gone by now.
  lacks ({ document, update }) {
    const doc = new Y.Doc()
    Y.applyUpdate(doc, Buffer.from(update, 'base64'))
    const log = new Set(doc.getArray('log').toArray())
    const { names, clocks } = promisesOf(document)
    const behind = [...clocks].filter(([id, clock]) => Y.getState(doc.store, id) < clock)
    return { told: names.length, lacks: names.filter(name => !log.has(name)), behind: behind.length }
  },
  // holes says whether a client is gone that was not told that all of its edits are saved:
  // of two, only the later may have arrived, since y-websocket sends new edits before it
  // sends what it typed while it was offline.
  holes ({ document }) {
    return promisesOf(document).holes
  },

  // type lets all clients edit concurrently, each edits times, a few edits in
  // each turn of the event loop so that the network runs between them.
  async type ({ clients: ids, edits, seed }) {
    await Promise.all(ids.map(async (id, i) => {
      const c = client(id)
      const rnd = random(seed + i)
      for (let n = 0; n < edits; n++) {
        c.edit(rnd)
        if (n % 4 === i % 4) await turn()
      }
    }))
  },
  startTyping ({ clients: ids, interval, seed, asks }) {
    ids.forEach((id, i) => client(id).startTyping(interval, random(seed + i), asks))
  },
  stopTyping ({ clients: ids }) {
    return ids.map(id => client(id).stopTyping())
  },

  synced ({ client: id, timeout }) {
    const c = client(id)
    return until([c], timeout, () => c.provider.synced, () => `not synced: ${show(c)}`)
  },
  offline ({ client: id, timeout }) {
    const c = client(id)
    return until([c], timeout, () => !c.provider.wsconnected, () => `still connected: ${show(c)}`)
  },
  text ({ client: id, text, timeout }) {
    const c = client(id)
    return until([c], timeout, () => c.text.toString() === text, () => `expected text ${JSON.stringify(text)}: ${show(c)}`)
  },
  users ({ client: id, users, timeout }) {
    const c = client(id)
    const want = JSON.stringify(users.toSorted())
    return until([c], timeout, () => JSON.stringify(c.users()) === want, () => `expected users ${want}: ${show(c)}`)
  },
  closed ({ client: id, code, timeout }) {
    const c = client(id)
    const found = () => c.closes.find(close => close.code === code)
    return until([c], timeout, found, () => `expected close code ${code}: ${show(c)}`).then(found)
  },
  // same waits until every client holds every edit that any of them typed, and
  // all their documents are identical.
  same ({ clients: ids, timeout }) {
    const all = ids.map(client)
    const typed = all.flatMap(c => c.typed)
    const complete = c => {
      const log = new Set(c.log.toArray())
      return typed.filter(name => !log.has(name))
    }
    // The cheap condition first: hashing a document on each of its updates would
    // take longer than the updates.
    const check = () => all.every(c => c.log.length === all[0].log.length && c.log.length >= typed.length) &&
      new Set(all.map(c => c.fingerprint())).size === 1
    return until(all, timeout, check, () => 'documents differ: ' + all.map(c => `${show(c)} lacks ${JSON.stringify(complete(c).slice(0, 10))} fingerprint ${c.fingerprint().slice(0, 8)}`).join('\n'))
      .then(took => {
        const missing = complete(all[0])
        if (missing.length > 0) throw new Error(`${missing.length} edits are missing everywhere: ${missing.slice(0, 20)}`)
        return took
      })
  },
  // keeps resolves after ms in which the client saw the same users.
  async keeps ({ client: id, users, ms }) {
    const c = client(id)
    const want = JSON.stringify(users.toSorted())
    await until([c], ms, () => JSON.stringify(c.users()) !== want, () => 'the same').then(
      took => { throw new Error(`after ${took} ms, expected users ${want}: ${show(c)}`) },
      () => {}
    )
  },
  // stays resolves after ms in which the client had no close and no new connect.
  async stays ({ client: id, ms }) {
    const c = client(id)
    const before = c.connects
    const gone = () => c.connects !== before || !c.provider.wsconnected
    await until([c], ms, gone, () => 'quiet').then(
      () => { throw new Error(`connection did not stay: ${show(c)}`) },
      () => {}
    )
  }
}

const answer = message => process.stdout.write(JSON.stringify(message) + '\n')

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: name, args } = JSON.parse(line)
  Promise.resolve()
    .then(() => operations[name](args))
    .then(
      result => answer({ id, result: result ?? null }),
      error => answer({ id, error: error instanceof Late ? error.message : error.stack })
    )
}
process.exit(0)
