// Random histories of Yjs clients that keep what is deleted (gc: false) around a store
// that does so too, with snapshots on the way: whoever comes late, comes back or only
// listens restores each of them. In some histories clients that collect garbage take part.
//
// Usage: node kept.mjs FIRST COUNT; the last line is as that of histories.mjs, with the
// number of snapshots.
import * as Y from 'yjs'
import * as Y14 from '@y/y'
import { dumpDoc, touch } from './dump.mjs'
import { History, load, told, yjsStore } from './histories.mjs'
import { underTest, report } from './store.mjs'

// restored is what a document shows of a snapshot of it.
const restored = (d, snapshot) => JSON.stringify(dumpDoc(touch(Y.createDocFromSnapshot(d, snapshot))))

class Kept extends History {
  constructor (seed, store) {
    super(seed, store)
    this.snapshots = []
    this.away = [] // states that clients left with
  }

  client (i) {
    this.mixed ??= this.rnd() < 0.4
    const d = super.client(i)
    d.gc = this.mixed && i > 0 && this.rnd() < 0.5
    return d
  }

  keepers () { return this.docs.filter(d => !d.gc) }

  follow () {
    if (!this.store.delivers) return
    const d = touch(new Y.Doc({ gc: false }))
    Y.applyUpdate(d, this.store.diff(new Uint8Array([0])), 'remote')
    this.followers.push(d)
  }

  step () {
    super.step()
    const d = this.pick(this.keepers())
    if (this.rnd() < 0.2) {
      const snapshot = Y.snapshot(d)
      this.snapshots.push({ snapshot, want: restored(d, snapshot) })
    }
    if (this.rnd() < 0.05) this.away.push(Y.encodeStateAsUpdate(d))
  }

  judge () {
    const verdict = super.judge()
    const late = touch(new Y.Doc({ gc: false }))
    Y.applyUpdate(late, this.store.diff(new Uint8Array([0])))
    this.restores(late, 'late joiner', verdict)
    this.restores(load([this.store.state()], false), 'state', verdict)
    if (this.shape === 'text') this.restores14(verdict)
    if (!this.mixed) { // what somebody has collected, who has heard that before does not get back
      this.away.forEach((state, i) => {
        const d = load([state], false)
        this.pull(d)
        this.restores(d, 'client that was away ' + i, verdict)
      })
      this.followers.forEach((d, i) => this.restores(d, 'follower ' + i, verdict))
      this.docs.filter(d => !d.gc).forEach((d, i) => this.restores(d, 'client ' + i, verdict))
    }
    return verdict
  }

  // restores14 has Yjs 14 restore the text.
  restores14 ({ reasons }) {
    const d = new Y14.Doc({ gc: false })
    d.get('text')
    Y14.applyUpdate(d, this.store.state())
    this.snapshots.forEach(({ snapshot, want }, i) => {
      const text = Y14.createDocFromSnapshot(d, Y14.decodeSnapshot(Y.encodeSnapshot(snapshot))).get('text').toString()
      if (text !== JSON.parse(want)['.text'].d.map(e => e.i).join('')) reasons.push(`Yjs 14: snapshot ${i} shows something else`)
    })
  }

  restores (d, what, { reasons }) {
    this.snapshots.forEach(({ snapshot, want }, i) => {
      try {
        if (restored(d, snapshot) !== want) reasons.push(`${what}: snapshot ${i} shows something else`)
      } catch (e) {
        reasons.push(`${what}: snapshot ${i}: ${String(e.stack).slice(0, 200)}`)
      }
    })
  }
}

const tell = (seed, store) => told(Kept, seed, store)

// yjsFails tells whether Yjs disagrees with itself in a history, or fails in the store's
// place although nobody collects anything.
const yjsFails = (seed, h) => {
  try {
    if (h.selfDisagreement()) return true
  } catch (e) {
    return true
  }
  return !h.mixed && tell(seed, yjsStore(false)).reasons.length > 0
}

const [first, count] = process.argv.slice(2).map(Number)
const failed = []
let [dropped, bytes, yjsBytes, snapshots] = [0, 0, 0, 0]
for (let seed = first; seed < first + count; seed++) {
  const { h, reasons, stuck, ours, yjs } = tell(seed, underTest())
  bytes += ours
  yjsBytes += yjs
  snapshots += h.snapshots.length
  if (reasons.length === 0) continue
  if (!stuck && yjsFails(seed, h)) dropped++
  else failed.push([seed, reasons.slice(0, 5).join('; ')])
}
report({ histories: count, dropped, failed, bytes, yjsBytes, open: snapshots })
