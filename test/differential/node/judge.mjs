// Judges documents with real Yjs: node judge.mjs PACKAGE, which is yjs or @y/y. One
// line of JSON is one document; its answer is one line:
//
//   {"raw", "ready": [base64, …], "early", "state": base64, "whole", "tidy", "straight": bool}
//     raw: what was new of the accepted updates, in order; ready: what a listener was sent of them;
//     early: the state at some time before; state: what a newcomer is sent.
//     whole: nothing is missing, so nobody may wait; tidy: each id means one struct, in one list;
//     straight: nothing ever waited
//
//   {"throws": [[op, message], …], "waits": [who, …], "differs": [who, …],
//    "unsure": bool, "again": base64}
//     differs: who shows another content; unsure: Yjs disagrees with itself about it;
//     again: what a client that took state would upload
const version = process.argv[2]
const Y = await import(version)
const next = version !== 'yjs'
console.log = console.warn = console.error = () => {}

const bytes = s => new Uint8Array(Buffer.from(s, 'base64'))
const base64 = u => Buffer.from(u).toString('base64')
const KINDS = { text: 'Text', list: 'Array', map: 'Map', xml: 'XmlFragment' }
const root = (d, name) => next ? d.get(name) : d.get(name, Y[KINDS[name]])
const isType = v => v instanceof (next ? Y.Type : Y.AbstractType)

// value is what is seen of a value, as JSON.
const value = v => {
  if (v === undefined) return { $: 'undefined' }
  if (v === null || typeof v === 'boolean' || typeof v === 'string') return v
  if (typeof v === 'number' || typeof v === 'bigint') return { $: typeof v, v: Object.is(v, -0) ? '-0' : String(v) }
  if (v instanceof Uint8Array) return { $: 'bytes', v: base64(v) }
  if (v instanceof Y.Doc) return { $: 'doc', v: v.guid }
  if (Array.isArray(v)) return v.map(value)
  // Under that name V2, in which Yjs keeps what waits, and V1 do not carry the same.
  return Object.keys(v).filter(k => k !== '__proto__').sort().map(k => [k, value(v[k])])
}

// contents lists what integrated items show, in order, and the map of a type. It
// walks the list itself, so that it shows the same of every type and version. Formats
// are left out: clients delete some that do nothing, each when it comes to it.
const contents = (t, depth = 0) => {
  const list = []
  let n = 0
  for (let item = t._start; item !== null; item = item.right) {
    if (++n > 10000) throw new Error('endless list')
    if (!item.deleted) show(list, item.content, depth)
  }
  const map = {}
  for (const k of [...t._map.keys()].sort()) {
    const item = t._map.get(k)
    if (!item.deleted) show(map['.' + k] = [], item.content, depth)
  }
  return { list, map }
}

const show = (list, c, depth) => {
  if (c.type !== undefined) list.push(contents(c.type, depth + 1))
  else if (c.str !== undefined) typeof list[list.length - 1] === 'string' ? list[list.length - 1] += c.str : list.push(c.str)
  else if (c.key === undefined && c.getContent) for (const v of c.getContent()) list.push({ v: value(v) })
}

const dump = d => JSON.stringify(Object.keys(KINDS).map(k => contents(root(d, k))))

class Judge {
  constructor (c) {
    this.c = c
    this.throws = []
    this.raw = c.raw.map(bytes)
  }

  // trying runs something that a client does; what it throws is a fault.
  trying (op, f) {
    try {
      return f()
    } catch (e) {
      const at = /\((?:file:\/\/)?[^)]*\/([^/)]+:\d+):\d+\)|at (?:file:\/\/)?\S*\/([^/]+:\d+):\d+/.exec(e.stack ?? '')
      this.throws.push([op, e.message + ' @ ' + (at ? at[1] ?? at[2] : '?')])
    }
  }

  load (who, updates, opts = {}) {
    const d = new Y.Doc({ guid: who, ...opts })
    for (const k in KINDS) root(d, k)
    // As bindings do: they look at each change.
    d.on(opts.gc === false ? 'updateV2' : 'update', () => {})
    for (const k in KINDS) {
      root(d, k).observeDeep(events => {
        for (const e of [].concat(events)) next ? e.delta ?? e.deltaDeep : [e.changes, e.path]
      })
    }
    updates.forEach((u, i) => {
      this.trying(who + ' applyUpdate', () => Y.applyUpdate(d, u))
      if (i % 3 === 1) this.trying(who + ' encodeStateAsUpdate', () => Y.encodeStateAsUpdate(d))
    })
    return d
  }

  encode (who, d) {
    this.trying(who + ' encodeStateVector', () => Y.encodeStateVector(d))
    this.trying(who + ' encodeStateAsUpdateV2', () => Y.encodeStateAsUpdateV2(d))
    const whole = this.trying(who + ' encodeStateAsUpdate', () => Y.encodeStateAsUpdate(d))
    if (this.c.early) {
      this.trying(who + ' encodeStateAsUpdate of a part', () =>
        Y.encodeStateAsUpdate(d, Y.encodeStateVectorFromUpdate(bytes(this.c.early))))
    }
    return whole
  }

  show (who, d) {
    const tell = (name, t, f) => { if (typeof t[f] === 'function') this.trying(`${who} ${name} ${f}`, () => t[f]()) }
    const visit = (name, t, depth) => {
      tell(name, t, 'toDelta')
      const fit = readable(t)
      if (fit) tell(name, t, 'toString')
      if (next || fit) tell(name, t, 'toJSON')
      tell(name, t, 'toArray')
      tell(name, t, next ? 'toDeltaDeep' : 'getAttributes')
      if (depth > 3) return
      for (let item = t._start; item !== null; item = item.right) {
        if (!item.deleted && item.content.type !== undefined) visit('type', item.content.type, depth + 1)
      }
      for (const item of t._map.values()) {
        if (!item.deleted && item.content.type !== undefined) visit('type', item.content.type, depth + 1)
      }
    }
    for (const k in KINDS) visit(k, root(d, k), 0)
    if (next || Object.keys(KINDS).every(k => readable(root(d, k)))) this.trying(who + ' toJSON', () => d.toJSON())
  }

  // versions takes snapshots of a document without garbage collection.
  versions (d) {
    const s = this.trying('snapshot', () => Y.snapshot(d))
    if (!s) return
    this.trying('encodeSnapshot', () => Y.decodeSnapshot(Y.encodeSnapshot(s)))
    const old = this.trying('createDocFromSnapshot', () => Y.createDocFromSnapshot(d, s))
    if (old) this.show('snapshot', old)
  }

  // edit works on a document as a user does.
  edit (d) {
    const types = Object.keys(KINDS).map(k => root(d, k))
    const um = this.trying('UndoManager', () => new Y.UndoManager(types))
    if (!um) return
    for (const k in KINDS) {
      const t = root(d, k)
      this.trying('clear ' + k, () => d.transact(() => {
        if (t.length > 0) t.delete(0, t.length)
        const keys = next ? [...t.attrKeys()].filter(key => key !== '__proto__') : k === 'map' ? [...t.keys()] : []
        for (const key of keys) next ? t.deleteAttr(key) : t.delete(key)
      }))
      um.stopCapturing()
    }
    for (let i = 0; i < 4 && um.canUndo(); i++) this.trying('undo', () => um.undo())
    for (let i = 0; i < 2 && um.canRedo(); i++) this.trying('redo', () => um.redo())
    this.trying('insert', () => root(d, 'text').insert(0, 'typed'))
    this.show('edited', d)
    this.encode('edited', d)
  }

  judge () {
    const c = this.c
    const direct = this.load('direct', this.raw)
    const listener = this.load('listener', c.ready.map(bytes))
    const late = this.load('newcomer', [bytes(c.state)])
    const keeping = this.load('keeper', [bytes(c.state)], { gc: false })
    const stale = c.early ? this.load('stale', [bytes(c.early), bytes(c.state)]) : late
    const waits = Object.entries(c.whole ? { listener, newcomer: late, keeper: keeping, stale } : {})
      .filter(([, d]) => d.store.pendingStructs || d.store.pendingDs).map(([who]) => who)
    const differs = []
    let unsure = false
    const want = this.trying('newcomer is seen', () => dump(late))
    const seen = (who, d) => { if (this.trying(who + ' is seen', () => dump(d)) !== want) differs.push(who) }
    if (c.whole && c.tidy) {
      if (c.straight) seen('direct', direct) // else it waits as behind any server
      seen('listener', listener)
      seen('stale', stale)
    }
    const again = this.encode('newcomer', late)
    if (again) this.load('reloaded', [again])
    if (differs.length > 0) unsure = this.disagrees()
    for (const [who, d] of [['listener', listener], ['newcomer', late]]) {
      this.encode(who, d)
      this.show(who, d)
    }
    if (c.tidy) {
      this.trying('mergeUpdates', () => Y.mergeUpdates(this.raw))
      this.trying('mergeUpdates with the state', () => Y.mergeUpdates([bytes(c.state), ...this.raw]))
    }
    for (const u of [...c.ready, c.state]) {
      this.trying('encodeStateVectorFromUpdate', () => Y.encodeStateVectorFromUpdate(bytes(u)))
      this.trying('convertUpdateFormatV1ToV2', () => Y.convertUpdateFormatV1ToV2(bytes(u)))
    }
    if (c.early) this.trying('diffUpdate', () => Y.diffUpdate(bytes(c.state), Y.encodeStateVectorFromUpdate(bytes(c.early))))
    this.versions(keeping)
    this.edit(this.raw.length % 2 ? late : listener)
    return { throws: this.throws, waits, differs, unsure, again: again ? base64(again) : '' }
  }

  // disagrees reports whether Yjs shows other contents when it hears the same updates
  // in other orders, or its own state.
  disagrees () {
    const silent = new Judge({ ...this.c, early: null })
    const seen = new Set()
    for (let i = 0; i < 6; i++) {
      const order = [...silent.raw]
      if (i === 1) order.reverse()
      for (let k = 0; i > 1 && k < order.length; k++) order.push(order.splice((k * 7 + i * 3) % order.length, 1)[0])
      const d = silent.load('', order)
      if (i > 0 && d.store.pendingStructs) continue
      seen.add(silent.trying('', () => dump(d)))
      // What a neighbour in a deleted type means to an item depends on whether that
      // was collected before the item came, as it always is for who loads the state.
      const again = silent.trying('', () => Y.encodeStateAsUpdate(d))
      if (again) seen.add(silent.trying('', () => dump(silent.load('', [again]))))
    }
    return seen.size > 1 || silent.throws.length > 0
  }
}

// readable reports whether a type can be read as JSON and as text: that what is in XML
// has a text, and that there is JSON of a bigint, is the business of the app.
const readable = t => {
  const xml = !next && (t instanceof Y.XmlFragment || t instanceof Y.XmlText)
  const hasText = v => v !== null && v !== undefined && (typeof v !== 'object' || isType(v))
  const fit = item => item.deleted || (item.content.key !== undefined
    ? !xml || item.content.value === null || typeof item.content.value !== 'object'
    : item.content.type !== undefined
      ? readable(item.content.type)
      : (item.content.getContent?.() ?? []).every(v => next ? !hasBigint(v) : !xml || hasText(v)))
  for (let item = t._start; item !== null; item = item.right) if (!fit(item)) return false
  return [...t._map.values()].every(fit)
}
const hasBigint = v => typeof v === 'bigint' || (v !== null && typeof v === 'object' && !(v instanceof Uint8Array) && !(v instanceof Y.Doc) && Object.values(v).some(hasBigint))

const answer = line => {
  const c = JSON.parse(line)
  try {
    return new Judge(c).judge()
  } catch (e) {
    return { throws: [['judge', e.stack]], waits: [], differs: [], unsure: false, again: '' }
  }
}

let rest = ''
process.stdin.setEncoding('latin1')
for await (const chunk of process.stdin) {
  const lines = (rest + chunk).split('\n')
  rest = lines.pop()
  for (const line of lines) process.stdout.write(JSON.stringify(answer(line)) + '\n')
}
