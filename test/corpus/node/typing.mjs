// Typing sessions of several real Yjs clients, made from seeds: the same ones
// each time.
//
//   node typing.mjs write FOLDER     writes all traces, and typing.json about them
//   node typing.mjs show STATE …     prints the SHA-256 of each state's text
//
// A trace (NAME.ylog.gz, see ylog.mjs) has one update per edit, in an order in which
// nothing comes before what it hangs on.
import * as Y from 'yjs'
import fs from 'fs'
import path from 'path'
import { createHash } from 'crypto'
import * as ylog from './ylog.mjs'

// The traces by name. An author's page reloads after so many of its edits; lag is
// how many edits of all pass at most until the others see one.
const SESSIONS = {
  alone: { seed: 1, authors: 1, edits: 8000, reload: Infinity, lag: 0 },
  reloads: { seed: 1, authors: 1, edits: 8000, reload: 400, lag: 0 },
  together: { seed: 2, authors: 3, edits: 8000, reload: 1500, lag: 25 }
}

const random = seed => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

const SYLLABLES = ['an', 'be', 'cor', 'de', 'el', 'fi', 'gra', 'hu', 'in', 'ka', 'lo', 'mé', 'no', 'or', 'pré', 'qui', 'ro', 'st', 'tü', 'um', 've', 'жи', '日', 'za']

// Author edits one text as people do: in bursts at a cursor.
class Author {
  constructor (session, index) {
    this.session = session
    this.index = index
    this.pages = 0
    this.edits = 0
    this.todo = [] // edits of the burst that is going on
    this.open(new Y.Doc())
  }

  int (n) { return Math.floor(this.session.rnd() * n) }
  chance (p) { return this.session.rnd() < p }

  // open is the author's page loading: a new client id.
  open (doc) {
    this.doc = doc
    this.text = doc.getText('text')
    doc.clientID = 1000003 * (1 + this.pages++) + 7919 * this.index
    doc.on('update', (u, origin) => { if (origin !== 'remote') this.session.tell(this, u) })
    this.at = this.relative(this.text.length)
  }

  reload () {
    const doc = new Y.Doc()
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(this.doc), 'remote')
    this.doc.destroy()
    this.open(doc)
  }

  hear (u) { Y.applyUpdate(this.doc, u, 'remote') }

  // The cursor stays where it is while others type before it.
  relative (i) { return Y.createRelativePositionFromTypeIndex(this.text, i, -1) }
  get cursor () { return Y.createAbsolutePositionFromRelativePosition(this.at, this.doc)?.index ?? this.text.length }

  insert (s) {
    const i = this.cursor
    this.text.insert(i, s)
    this.at = this.relative(i + s.length)
  }

  // remove deletes n characters before the cursor.
  remove (n) {
    const i = this.cursor
    n = Math.min(n, i)
    if (n > 0) this.text.delete(i - n, n)
    this.at = this.relative(i - n)
    return n > 0
  }

  word () {
    let w = ''
    for (let n = 1 + this.int(4); n > 0; n--) w += SYLLABLES[this.int(SYLLABLES.length)]
    return w
  }

  // step makes one edit, which is one update.
  step () {
    const before = this.edits
    while (this.edits === before) {
      if (this.todo.length === 0) this.plan()
      if (this.todo.shift()() !== false) this.edits++
    }
    if (this.edits % this.session.reload === 0) this.reload()
  }

  type (s) { for (const c of s) this.todo.push(() => this.insert(c)) }
  erase (n) { while (n-- > 0) this.todo.push(() => this.remove(1)) }

  // plan thinks of the next burst.
  plan () {
    const r = this.session.rnd()
    if (r < 0.72) this.sentence()
    else if (r < 0.82) this.jump()
    else if (r < 0.88) this.erase(1 + this.int(25)) // holds backspace
    else if (r < 0.94) this.todo.push(() => this.remove(5 + this.int(120))) // deletes what it selected
    else if (r < 0.97) this.move()
    else this.paste()
  }

  sentence () {
    for (let n = 1 + this.int(12); n > 0; n--) {
      const w = this.word()
      this.type(w)
      if (this.chance(0.12)) { // mistyped, seen at once
        const wrong = 1 + this.int(Math.min(4, w.length))
        this.erase(wrong)
        this.type(w.slice(-wrong))
      }
      this.type(this.chance(0.1) ? ', ' : ' ')
    }
    if (this.chance(0.5)) {
      this.erase(1)
      this.type(this.chance(0.3) ? '.\n' : '. ')
    }
  }

  // jump puts the cursor elsewhere: mostly near, or to the end, which edits nothing.
  jump () {
    const end = this.text.length
    const r = this.session.rnd()
    const to = r < 0.45 ? end : r < 0.85 ? this.cursor + this.int(400) - 250 : this.int(end + 1)
    this.at = this.relative(Math.max(0, Math.min(end, to)))
    this.sentence()
  }

  some (most) {
    const from = this.int(this.text.length)
    return this.text.toString().slice(from, from + 1 + this.int(most))
  }

  paste () {
    const s = this.chance(0.5) ? this.some(600) : Array.from({ length: 5 + this.int(80) }, () => this.word()).join(' ')
    if (s !== '') this.todo.push(() => this.insert(s))
  }

  // move cuts a part and pastes it elsewhere.
  move () {
    const n = Math.min(this.cursor, 10 + this.int(200))
    if (n === 0) return
    const s = this.text.toString().slice(this.cursor - n, this.cursor)
    this.todo.push(() => this.remove(n), () => {
      this.at = this.relative(this.int(this.text.length + 1))
      this.insert(s)
    })
  }
}

class Session {
  constructor ({ seed, authors, edits, reload, lag }) {
    Object.assign(this, { rnd: random(seed), edits, reload, lag })
    this.log = []
    this.mail = [] // for each author what it has not heard of yet, in order
    this.authors = []
    for (let i = 0; i < authors; i++) {
      this.mail.push([])
      this.authors.push(new Author(this, i))
    }
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
    const texts = this.authors.map(x => x.text.toString())
    if (texts.some(t => t !== texts[0])) throw new Error('the authors see different texts')
    return texts[0]
  }
}

const sha = s => createHash('sha256').update(s).digest('hex')

const describe = (session, text) => {
  const d = new Y.Doc()
  for (const u of session.log) Y.applyUpdate(d, u)
  if (d.getText('text').toString() !== text) throw new Error('the trace is not what the authors see')
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
  console.log(sha(d.getText('text').toString()))
}

const [verb, ...args] = process.argv.slice(2)
if (verb === 'write' && args.length === 1) write(args[0])
else if (verb === 'show') args.forEach(show)
else throw new Error('usage: typing.mjs write FOLDER | show STATE …')
