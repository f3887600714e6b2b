// Typing sessions of several real Yjs clients, made from seeds: the same ones
// each time. Some write a text, some a document of blocks (author.mjs, rich.mjs), others draw.
//
//   node typing.mjs write FOLDER     writes all traces, and typing.json about them
//   node typing.mjs show STATE …     prints the SHA-256 of what each state shows
//
// A trace (NAME.ylog.gz, see ylog.mjs) has one update per edit, in an order in which
// nothing comes before what it hangs on.
import * as Y from 'yjs'
import fs from 'fs'
import path from 'path'
import { createHash } from 'crypto'
import * as ylog from './ylog.mjs'
import { Author } from './author.mjs'
import { Blocks, Shapes } from './rich.mjs'

// The traces by name. An author's page reloads after so many of its edits; lag is
// how many edits of all pass at most until the others see one.
const SESSIONS = {
  alone: { seed: 1, authors: 1, edits: 8000, reload: Infinity, lag: 0 },
  reloads: { seed: 1, authors: 1, edits: 8000, reload: 400, lag: 0 },
  together: { seed: 2, authors: 3, edits: 8000, reload: 1500, lag: 25 },
  blocks: { seed: 3, authors: 2, edits: 3000, reload: 800, lag: 25, of: Blocks },
  shapes: { seed: 4, authors: 2, edits: 3000, reload: 800, lag: 25, of: Shapes }
}

const random = seed => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

class Session {
  constructor ({ seed, authors, edits, reload, lag, of = Author }) {
    Object.assign(this, { rnd: random(seed), edits, reload, lag })
    this.log = []
    this.mail = [] // for each author what it has not heard of yet, in order
    this.authors = []
    for (let i = 0; i < authors; i++) this.mail.push([])
    for (let i = 0; i < authors; i++) this.authors.push(new of(this, i))
  }

  tell (from, u) {
    this.log.push(u)
    for (const [i, m] of this.mail.entries()) {
      if (i !== from.index) m.push({ u, due: this.log.length + Math.floor(this.rnd() * this.lag) })
    }
  }

  deliver (all) {
    for (const [i, m] of this.mail.entries()) {
      while (m.length > 0 && (all || m[0].due <= this.log.length)) this.authors[i].hear(m.shift().u)
    }
  }

  run () {
    let a = this.authors[0]
    while (this.log.length < this.edits) {
      if (this.rnd() < 0.1) a = this.authors[Math.floor(this.rnd() * this.authors.length)]
      a.step()
      this.deliver(false)
    }
    this.deliver(true)
    const texts = this.authors.map(x => shown(x.doc))
    if (texts.some(t => t !== texts[0])) throw new Error('the authors see different documents')
    return texts[0]
  }
}

// plain is a type without the formats of its text: clients tidy these up each in their own time.
const plain = type => {
  if (type instanceof Y.XmlText) return type.toDelta().map(d => d.insert).join('')
  const inner = type.toArray().map(plain).join('')
  return type instanceof Y.XmlElement ? `<${type.nodeName} ${sorted(type.getAttributes())}>${inner}</>` : inner
}

const sorted = o => JSON.stringify(o, (_, v) => v?.constructor === Object ? Object.fromEntries(Object.entries(v).sort()) : v)

// shown is what a document shows, of whichever sort it is.
const shown = doc => {
  const shapes = doc.getMap('shapes').toJSON()
  return doc.getText('text').toString() + plain(doc.getXmlFragment('blocks')) + (Object.keys(shapes).length > 0 ? sorted(shapes) : '')
}

const sha = s => createHash('sha256').update(s).digest('hex')

const describe = (session, text) => {
  const d = new Y.Doc()
  for (const u of session.log) Y.applyUpdate(d, u)
  if (shown(d) !== text) throw new Error('the trace is not what the authors see')
  return {
    updates: session.log.length,
    clients: d.store.clients.size,
    rawBytes: session.log.reduce((n, u) => n + u.length, 0),
    yjsStateBytes: Y.encodeStateAsUpdate(d).length,
    yjsStructs: [...d.store.clients.values()].reduce((n, s) => n + s.length, 0),
    textLength: text.length,
    textSha256: sha(text)
  }
}

const write = dir => {
  const about = {}
  for (const [name, options] of Object.entries(SESSIONS)) {
    const session = new Session(options)
    const text = session.run()
    about[name] = { authors: options.authors, ...describe(session, text) }
    ylog.write(path.join(dir, name + '.ylog.gz'), session.log)
  }
  fs.writeFileSync(path.join(dir, 'typing.json'), JSON.stringify(about, null, 2) + '\n')
}

const show = file => {
  const d = new Y.Doc()
  Y.applyUpdate(d, fs.readFileSync(file))
  if (d.store.pendingStructs || d.store.pendingDs) throw new Error(file + ' leaves something waiting')
  console.log(sha(shown(d)))
}

const [verb, ...args] = process.argv.slice(2)
if (verb === 'write' && args.length === 1) write(args[0])
else if (verb === 'show') args.forEach(show)
else throw new Error('usage: typing.mjs write FOLDER | show STATE …')
