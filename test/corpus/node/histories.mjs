// Random histories of real Yjs clients around a store under test (store.mjs).
//
// Usage: node histories.mjs FIRST COUNT. Seeds FIRST … FIRST+COUNT-1;
// ends with the line {"histories", "dropped", "failed": [[seed, reason], …]}.
import * as Y from 'yjs'
import { fileURLToPath } from 'url'
import { dumpDoc, touch, svObj, dsObj } from './dump.mjs'
import { underTest, report, random } from './store.mjs'

// The same from Yjs itself, to see what histories it can stand.
export const yjsStore = gc => {
  const d = new Y.Doc({ gc })
  return {
    apply: u => Y.applyUpdate(d, u),
    diff: sv => Y.encodeStateAsUpdate(d, sv),
    sv: () => Y.encodeStateVector(d),
    state: () => Y.encodeStateAsUpdate(d)
  }
}

export class History {
  constructor (seed, store) {
    this.store = store
    this.rnd = random(seed)
    this.log = [] // what the store was told, in order
    this.mail = [] // updates on their way to the store
    this.stale = [] // what clients knew once
    this.followers = [] // clients that only listen: what they know came from the store
    this.aside = null // a client whose updates wait in held, while others hear them past the store
    this.held = []
    this.shape = this.pick(['text', 'rich', 'nested', 'mixed', 'mixed'])
    this.length = this.pick([12, 30, 30, 60, 120])
    const n = 1 + this.int(4)
    this.docs = Array.from({ length: n }, (_, i) => this.client(i))
  }

  int (n) { return Math.floor(this.rnd() * n) }
  pick (a) { return a[this.int(a.length)] }

  client (i) {
    const d = touch(new Y.Doc({ gc: this.rnd() < 0.7 }))
    // Apart from each other, around the borders of the wire's integers.
    d.clientID = this.pick([1, 120, 128, 16384, 2 ** 31, 2 ** 32 - 4, 2 ** 45, 2 ** 53 - 5]) + i
    d.on('update', (u, origin) => { if (origin !== 'remote') (d === this.aside ? this.held : this.mail).push(u) })
    return d
  }

  string () {
    // No pairs inside: Yjs cuts those, and then disagrees with itself.
    const s = this.pick(['a', 'b', 'cd', 'ж', 'мир', '日本', 'hello ', '\n', '\ufeff', '\u0000', 'x'.repeat(1 + this.int(40))])
    return this.rnd() < 0.02 ? s.repeat(300) : s
  }

  value (depth = 2) {
    switch (this.int(depth > 0 ? 12 : 10)) {
      case 0: return null
      case 1: return undefined
      case 2: return this.rnd() < 0.5
      case 3: return this.int(1000) - 500
      case 4: return this.rnd() * 1e9
      case 5: return BigInt(this.int(1000))
      case 6: return this.string()
      case 7: return new Uint8Array(this.int(9))
      case 8: return 2 ** 40 + this.int(99)
      case 9: return 'w'
      case 10: return Array.from({ length: this.int(3) }, () => this.value(depth - 1))
      default: return { k: this.value(depth - 1), ü: this.int(9) }
    }
  }

  // element is a value that an array takes.
  element () {
    const v = this.value()
    return v === undefined || typeof v === 'bigint' ? [v] : v
  }

  type () {
    switch (this.int(7)) {
      case 0: return new Y.Map([['a', this.int(9)]])
      case 1: return Y.Array.from([this.int(9), 'q'])
      case 2: return new Y.Text(this.string())
      case 3: return new Y.XmlElement('p')
      case 4: return new Y.XmlText(this.string())
      case 5: return new Y.XmlFragment()
      default: return new Y.Doc({ guid: 'sub' + this.int(99) })
    }
  }

  xmlType () { return this.rnd() < 0.5 ? new Y.XmlElement(this.pick(['p', 'div', 'ünï'])) : new Y.XmlText(this.string()) }

  // anyType walks down from a root to some type.
  anyType (d) {
    let t = this.pick([() => d.getText('text'), () => d.getText('rich'), () => d.getArray('arr'), () => d.getMap('map'), () => d.getXmlFragment('xml')])()
    while (this.rnd() < 0.7) {
      const inner = (t instanceof Y.Map ? [...t.values()] : t instanceof Y.Array || t instanceof Y.XmlFragment ? t.toArray() : []).filter(x => x instanceof Y.AbstractType)
      if (inner.length === 0) break
      t = this.pick(inner)
    }
    return t
  }

  edit (d) {
    const times = this.rnd() < 0.15 ? 1 + this.int(5) : 1
    d.transact(() => { for (let i = 0; i < times; i++) this.editOnce(d) })
  }

  editOnce (d) {
    switch (this.shape) {
      case 'text': return this.editText(d.getText('text'), false)
      case 'rich': return this.editText(d.getText('rich'), true)
    }
    const t = this.anyType(d)
    if (t instanceof Y.Text) this.editText(t, this.rnd() < 0.4)
    else if (t instanceof Y.Map) this.editMap(t)
    else if (t instanceof Y.Array) this.editList(t, () => this.rnd() < 0.35 ? this.type() : this.element())
    else this.editList(t, () => this.xmlType(), true)
  }

  editText (t, rich) {
    const r = this.rnd()
    const at = this.int(t.length + 1)
    if (t.length > 0 && r < 0.3) {
      const from = this.int(t.length)
      t.delete(from, Math.min(t.length - from, 1 + this.int(this.rnd() < 0.1 ? 1000 : 6)))
    } else if (rich && t.length > 0 && r < 0.5) {
      const from = this.int(t.length)
      t.format(from, Math.min(t.length - from, 1 + this.int(8)), { [this.pick(['bold', 'italic'])]: this.pick([true, null, { x: 1 }]) })
    } else if (rich && r < 0.55) {
      t.insertEmbed(at, this.rnd() < 0.3 ? this.xmlType() : { e: this.int(9) })
    } else if (this.rnd() < 0.5) {
      t.insert(t.length, this.string()) // typing on
    } else {
      t.insert(at, this.string())
    }
  }

  editMap (t) {
    const key = this.pick(['a', 'b', 'c', 'ключ', ''])
    if (this.rnd() < 0.2) t.delete(key)
    else t.set(key, this.rnd() < 0.3 ? this.type() : this.value())
  }

  editList (t, make, xml = false) {
    const r = this.rnd()
    if (t.length > 0 && r < 0.35) {
      const from = this.int(t.length)
      t.delete(from, Math.min(t.length - from, 1 + this.int(4)))
    } else if (xml && t instanceof Y.XmlElement && r < 0.5) {
      t.setAttribute(this.pick(['id', 'class']), this.string())
    } else {
      const at = this.int(t.length + 1)
      t.insert(at, xml ? [make()] : Array.from({ length: 1 + this.int(3) }, make))
    }
  }

  tell (u) {
    this.log.push(u)
    const delivered = this.store.apply(u)
    if (delivered) for (const d of this.followers) Y.applyUpdate(d, delivered, 'remote')
  }

  follow () {
    if (!this.store.delivers) return
    const d = touch(new Y.Doc())
    Y.applyUpdate(d, this.store.diff(new Uint8Array([0])), 'remote')
    this.followers.push(d)
  }

  // part cuts a client off from the store, while others hear what it writes and it
  // hears them, or lets what it wrote meanwhile come: the end before the beginning.
  part () {
    if (this.aside === null) {
      this.aside = this.pick(this.docs)
      return
    }
    this.aside = null
    this.deliver(true)
    const end = this.held.splice(this.int(this.held.length + 1))
    for (const u of [...end, ...this.held.splice(0)]) {
      this.tell(u)
      if (this.rnd() < 0.3) this.follow()
    }
  }

  // deliver hands some of the mail to the store: late, twice, merged, in any order.
  deliver (all = false) {
    while (this.mail.length > 0 && (all || this.rnd() < 0.6)) {
      const i = this.rnd() < 0.7 ? 0 : this.int(this.mail.length)
      if (this.rnd() < 0.15 && this.mail.length > 1) {
        const some = this.mail.splice(i, 1 + this.int(4))
        this.tell(Y.mergeUpdates(some))
        continue
      }
      const [u] = this.mail.splice(i, 1)
      this.tell(u)
      if (this.rnd() < 0.05) this.tell(u)
    }
  }

  pull (d) { Y.applyUpdate(d, this.store.diff(Y.encodeStateVector(d)), 'remote') }
  push (d) { if (d !== this.aside) this.tell(Y.encodeStateAsUpdate(d, this.store.sv())) }

  step () {
    const d = this.pick(this.docs)
    this.edit(d)
    if (this.rnd() < 0.5) this.deliver()
    if (this.rnd() < 0.25) this.pull(this.pick(this.docs))
    if (this.rnd() < 0.08) this.push(this.pick(this.docs))
    if (this.rnd() < 0.05) this.follow()
    if (this.rnd() < 0.08) this.part()
    if (this.rnd() < (this.aside ? 0.5 : 0.05) && this.docs.length > 1) { // past the store
      const [a, b] = [this.pick(this.docs), this.pick(this.docs)]
      Y.applyUpdate(a, Y.encodeStateAsUpdate(b, Y.encodeStateVector(a)), 'remote')
    }
    if (this.rnd() < 0.03) this.store.state()
  }

  run () {
    for (let i = 0; i < this.length; i++) {
      for (const part of [0.1, 0.5, 0.9]) {
        if (i === Math.floor(this.length * part)) this.stale.push(Y.encodeStateAsUpdate(this.pick(this.docs)))
      }
      this.step()
    }
    if (this.aside) this.part()
    this.deliver(true)
    this.rejoin()
    this.settle()
  }

  // rejoin brings back clients that know only an early part, and wrote meanwhile.
  rejoin () {
    this.stale.forEach((state, i) => {
      for (const gc of [true, false]) {
        const d = touch(new Y.Doc({ gc }))
        d.clientID = 2 ** 50 + 10 * i + (gc ? 0 : 1)
        Y.applyUpdate(d, state)
        d.on('update', (u, origin) => { if (origin !== 'remote') this.mail.push(u) })
        for (let k = this.int(4); k > 0; k--) this.edit(d)
        this.docs.push(d)
      }
    })
    for (const d of this.docs) {
      this.pull(d)
      this.edit(d)
      this.deliver(this.rnd() < 0.5)
    }
  }

  settle () {
    this.deliver(true)
    for (const d of this.docs) this.push(d)
    for (const d of this.docs) this.pull(d)
  }

  // judge returns what is wrong, or nothing.
  judge () {
    const reference = load(this.log)
    const want = JSON.stringify(dumpDoc(reference))
    const state = this.store.state()
    const reasons = []
    const same = (d, what) => {
      if (JSON.stringify(dumpDoc(d)) !== want) reasons.push(what + ': other content')
      if (d.store.pendingStructs || d.store.pendingDs) reasons.push(what + ': left something pending')
    }
    same(load([state]), 'state')
    same(load([state], false), 'state, gc off')
    this.docs.forEach((d, i) => same(d, 'client ' + i))
    this.followers.forEach((d, i) => same(d, 'follower ' + i))
    same(load([Y.mergeUpdates([state, ...this.log])]), 'merged with the log')
    const sv = JSON.stringify(svObj(reference.store.clients.size ? Y.encodeStateVector(reference) : new Map()))
    if (JSON.stringify(svObj(this.store.sv())) !== sv) reasons.push('other state vector')
    if (JSON.stringify(svObj(Y.encodeStateVectorFromUpdate(state))) !== sv) reasons.push('other state vector in the state')
    if (!covers(Y.decodeUpdate(state).ds, this.log)) reasons.push('lacks deletions')
    const yjs = Y.encodeStateAsUpdate(reference)
    const stuck = this.followers.some(d => d.store.pendingStructs)
    return { reasons, stuck, ours: state.length, yjs: yjs.length }
  }

  // selfDisagreement tells whether Yjs itself makes something else of the log in
  // another order.
  selfDisagreement () {
    const want = JSON.stringify(dumpDoc(load(this.log)))
    const orders = [[...this.log].reverse(), this.log.map(x => [this.rnd(), x]).sort((a, b) => a[0] - b[0]).map(x => x[1]), [Y.mergeUpdates(this.log)]]
    return orders.some(log => JSON.stringify(dumpDoc(load(log))) !== want) || JSON.stringify(dumpDoc(load(this.log, false))) !== want
  }
}

/** Runs a history of a kind, and judges it. */
export const told = (Kind, seed, store) => {
  const h = new Kind(seed, store)
  try {
    h.run()
    return { h, ...h.judge() }
  } catch (e) {
    return { h, reasons: [String(e.stack).slice(0, 300)], ours: 0, yjs: 0 }
  }
}

const tell = (seed, store) => told(History, seed, store)

// yjsFails tells whether Yjs disagrees with itself in a history, or fails in the
// store's place.
const yjsFails = (seed, h) => {
  try {
    if (h.selfDisagreement()) return true
  } catch (e) {
    return true
  }
  return tell(seed, yjsStore(true)).reasons.length > 0 || tell(seed, yjsStore(false)).reasons.length > 0
}

export const load = (log, gc = true) => {
  const d = touch(new Y.Doc({ gc }))
  for (const u of log) Y.applyUpdate(d, u, 'remote')
  return d
}

// covers tells whether the delete set holds all deletions of the log.
const covers = (ds, log) => {
  const have = new Map(dsObj({ clients: new Map([...ds.clients].map(([c, l]) => [c, [...l].sort((a, b) => a.clock - b.clock)])) }))
  return log.every(u => [...Y.decodeUpdate(u).ds.clients].every(([client, l]) => l.every(({ clock, len }) =>
    (have.get(client) || []).some(([from, n]) => from <= clock && clock + len <= from + n))))
}

// With a third argument, Yjs is its own store: what does it stand?
const main = () => {
  const makeStore = process.argv[4] ? () => yjsStore(process.argv[4] === 'gc') : underTest
  const [first, count] = process.argv.slice(2).map(Number)
  const failed = []
  let dropped = 0
  let ours = 0
  let yjs = 0
  for (let seed = first; seed < first + count; seed++) {
    const { h, reasons, stuck, ours: a, yjs: b } = tell(seed, makeStore())
    ours += a
    yjs += b
    if (reasons.length === 0) continue
    if (!stuck && yjsFails(seed, h)) dropped++
    else failed.push([seed, reasons.join('; ')])
  }
  report({ histories: count, dropped, failed, bytes: ours, yjsBytes: yjs })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
