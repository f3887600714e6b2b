// Random histories of Yjs 14 clients around a store under test (store.mjs): writers with
// suggestions of their own, which they accept and reject in any order, so that they write
// structs behind clocks that do not exist yet; listeners of Yjs 14 and 13; and in half of
// the histories writers of Yjs 13.
//
// Usage: node suggestions.mjs FIRST COUNT. Seeds FIRST … FIRST+COUNT-1;
// ends with the line {"histories", "dropped", "open", "failed": [[seed, reason], …]}.
import * as Y from '@y/y'
import * as Y13 from 'yjs'
import { underTest, report, random } from './store.mjs'

const REMOTE = 'remote'

// Two kinds of clients, by the same words.
const kinds = {
  14: {
    doc: id => {
      const d = new Y.Doc({ gc: id % 3 !== 0 })
      d.clientID = id
      d.get('text')
      return d
    },
    text: d => d.get('text'),
    apply: (d, u) => Y.applyUpdate(d, u, REMOTE),
    sv: Y.encodeStateVector,
    diff: Y.encodeStateAsUpdate,
    dump: d => JSON.stringify(d.get('text').toDelta().toJSON())
  },
  13: {
    doc: id => {
      const d = new Y13.Doc({ gc: id % 3 !== 0 })
      d.clientID = id
      d.getText('text')
      return d
    },
    text: d => d.getText('text'),
    apply: (d, u) => Y13.applyUpdate(d, u, REMOTE),
    sv: Y13.encodeStateVector,
    diff: Y13.encodeStateAsUpdate,
    dump: d => d.getText('text').toString()
  }
}
const plain = (kind, d) => {
  if (kind === '13') return kinds[13].dump(d)
  return d.get('text').toDelta().toJSON().children?.map(op => op.insert ?? '').join('') ?? ''
}

// Yjs 14 in the store's place, which passes on what it is told.
const yjsStore = () => {
  const d = new Y.Doc()
  return {
    delivers: true,
    apply: u => {
      Y.applyUpdate(d, u)
      return u
    },
    diff: sv => Y.encodeStateAsUpdate(d, sv),
    sv: () => Y.encodeStateVector(d),
    state: () => Y.encodeStateAsUpdate(d)
  }
}

class Client {
  constructor (history, kind, id) {
    Object.assign(this, { history, kind, id, live: true }, kinds[kind])
    this.d = this.doc(id)
  }

  hear (u) { this.apply(this.d, u) }
  pull () { this.hear(this.history.store.diff(this.sv(this.d))) }
  push () { this.history.tell(this.diff(this.d, this.history.store.sv())) }
  stuck () { return this.d.store.pendingStructs !== null }

  // write lets what the client does reach the store, in order.
  write () {
    this.d.on('update', (u, origin) => { if (origin !== REMOTE) this.history.mail.push(u) })
    return this
  }

  // suggest gives the client a second document, with its suggestions.
  suggest () {
    const next = this.doc(this.id + 1)
    Y.applyUpdate(next, Y.encodeStateAsUpdate(this.d))
    this.next = next
    this.am = Y.createAttributionManagerFromDiff(this.d, next, { attrs: new Y.Attributions() })
    return this
  }
}

class History {
  constructor (seed, store) {
    this.store = store
    this.rnd = random(seed)
    this.log = []
    this.mail = []
    this.length = this.pick([8, 20, 40, 80])
    this.together = this.rnd() < 0.5 // the writers are connected, and hear each other at once
    let id = this.pick([1, 120, 16380, 2 ** 32 - 64])
    this.writers = []
    for (let n = 1 + this.int(3); n > 0; n--, id += 2) this.writers.push(new Client(this, '14', id).suggest().write())
    if (this.rnd() < 0.5) {
      for (let n = 1 + this.int(2); n > 0; n--, id += 2) this.writers.push(new Client(this, '13', id).write())
    }
    this.listeners = []
    this.nextID = id + 1000
  }

  int (n) { return Math.floor(this.rnd() * n) }
  pick (a) { return a[this.int(a.length)] }

  edit (text) {
    const r = this.rnd()
    if (text.length > 0 && r < 0.3) {
      const at = this.int(text.length)
      text.delete(at, Math.min(text.length - at, 1 + this.int(5)))
    } else if (text.length > 0 && r < 0.4) {
      const at = this.int(text.length)
      text.format(at, Math.min(text.length - at, 1 + this.int(5)), { bold: this.pick([true, null]) })
    } else {
      text.insert(r < 0.6 ? text.length : this.int(text.length + 1), this.pick(['a', 'b', 'cd', 'мир', 'hello ']))
    }
  }

  // resolve accepts or rejects some suggestion of the writer's.
  resolve (c) {
    const open = []
    for (const set of [c.am.inserts, c.am.deletes]) {
      set.forEach((range, client) => open.push(Y.createID(client, range.clock + this.int(range.len))))
    }
    if (open.length === 0) return
    const at = this.pick(open)
    if (this.rnd() < 0.75) c.am.acceptChanges(at, at)
    else c.am.rejectChanges(at, at)
  }

  tell (u) {
    this.log.push(u)
    const delivered = this.store.apply(u)
    if (!delivered) return
    for (const l of this.listeners) l.hear(delivered)
    if (this.together) for (const w of this.writers) w.hear(delivered)
  }

  deliver (all = false) {
    while (this.mail.length > 0 && (all || this.rnd() < 0.7)) {
      const [u] = this.mail.splice(this.rnd() < 0.85 ? 0 : this.int(this.mail.length), 1)
      this.tell(u)
    }
  }

  listen () {
    if (!this.store.delivers) return
    const l = new Client(this, this.pick(['14', '13']), this.nextID++)
    l.pull()
    this.listeners.push(l)
  }

  step () {
    const c = this.pick(this.writers)
    const r = this.rnd()
    if (!c.am || r < 0.3) this.edit(c.text(c.d))
    else if (r < 0.75) this.edit(c.text(c.next))
    else this.resolve(c)
    if (this.rnd() < 0.6) this.deliver()
    if (this.rnd() < 0.25) this.pick(this.writers).pull()
    if (this.rnd() < 0.08) this.pick(this.writers).push()
    if (this.rnd() < 0.1) this.listen()
  }

  run () {
    for (let i = 0; i < this.length; i++) this.step()
    this.deliver(true)
    // In half of the histories nothing stays open, so that everything comes in the end.
    if (this.rnd() < 0.5) {
      for (const c of this.writers) if (c.am) this.pick([() => c.am.acceptAllChanges(), () => c.am.rejectAllChanges()])()
    }
    this.deliver(true)
    for (const c of this.writers) c.push()
    for (const c of this.writers) c.pull()
    for (const k of ['14', '13']) {
      const l = new Client(this, k, this.nextID++)
      l.pull()
      this.listeners.push(l)
    }
  }

  // judge returns what is wrong, or nothing.
  judge () {
    const reference = load([this.store.state()])
    const waits = reference.store.pendingStructs !== null
    const open = waits || reference.store.skips.clients.size > 0
    const want = kinds[14].dump(reference)
    const text = plain('14', reference)
    const reasons = []
    let stuck = false
    const all = [...this.writers.map((c, i) => [c, 'writer ' + i]), ...this.listeners.map((c, i) => [c, 'listener ' + i])]
    for (const [c, what] of all) {
      if (c.kind === '13' && open) continue // it may wait
      // Where something hangs on what stays open, Yjs 14 integrates less of one update than
      // of the same in several: what it cannot integrate stops all of its client behind it.
      if (waits && kinds[14].dump(load([c.diff(c.d)])) === want) continue
      if (c.stuck() && !waits) {
        stuck = true
        reasons.push(`${what}, Yjs ${c.kind}: waits`)
      } else if (c.kind === '14' && c.dump(c.d) !== want || plain(c.kind, c.d) !== text) {
        reasons.push(`${what}, Yjs ${c.kind}: other content`)
      }
    }
    if (kinds[14].dump(load(this.log)) !== want) reasons.push('log: other content')
    return { reasons, stuck, open }
  }

  // selfDisagreement tells whether Yjs itself makes something else of the log in
  // another order.
  selfDisagreement () {
    const want = kinds[14].dump(load(this.log))
    return [[...this.log].reverse(), [Y.mergeUpdates(this.log)]].some(log => kinds[14].dump(load(log)) !== want)
  }
}

const load = log => {
  const d = kinds[14].doc(1)
  for (const u of log) Y.applyUpdate(d, u)
  return d
}

const tell = (seed, store) => {
  const h = new History(seed, store)
  try {
    h.run()
    return { h, ...h.judge() }
  } catch (e) {
    return { h, reasons: [String(e.stack).slice(0, 300)] }
  }
}

const yjsFails = (seed, h) => {
  try {
    if (h.selfDisagreement()) return true
  } catch (e) {
    return true
  }
  return tell(seed, yjsStore()).reasons.length > 0
}

const makeStore = process.argv[4] ? yjsStore : underTest
const [first, count] = process.argv.slice(2).map(Number)
const failed = []
let dropped = 0
let open = 0
for (let seed = first; seed < first + count; seed++) {
  const { h, reasons, stuck, open: opened } = tell(seed, makeStore())
  if (opened) open++
  if (reasons.length === 0) continue
  if (!stuck && yjsFails(seed, h)) dropped++
  else failed.push([seed, reasons.join('; ')])
}
report({ histories: count, dropped, open, failed })
