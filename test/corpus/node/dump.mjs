// What a document shows its readers, as plain JSON that can be compared. Keys get
// a '.' in front, so that `$` can mark special values.
import * as Y from 'yjs'

export const val = v => {
  if (v === undefined) return { $: 'undefined' }
  if (v === null || typeof v === 'boolean' || typeof v === 'string') return v
  if (typeof v === 'number') {
    if (Number.isFinite(v) && !Object.is(v, -0)) return v
    return { $: 'num', v: Object.is(v, -0) ? '-0' : String(v) }
  }
  if (typeof v === 'bigint') return { $: 'bigint', v: String(v) }
  if (v instanceof Uint8Array) return { $: 'bytes', v: Buffer.from(v).toString('base64') }
  if (v instanceof Y.Doc) return dumpSubdocument(v)
  if (v instanceof Y.AbstractType) return dumpType(v)
  if (Array.isArray(v)) return v.map(val)
  return sorted(Object.keys(v), k => v[k])
}

const sorted = (keys, get) => {
  const o = {}
  for (const k of [...keys].sort()) o['.' + k] = val(get(k))
  return o
}

const dumpSubdocument = d => {
  const opts = {}
  if (!d.gc) opts.gc = false
  if (d.autoLoad) opts.autoLoad = true
  if (d.meta != null) opts.meta = d.meta
  return { $: 'doc', guid: d.guid, opts: val(opts) }
}

const attrs = t => {
  const a = t.getAttributes()
  return sorted(Object.keys(a), k => a[k])
}

// Neighbouring strings of equal attributes are joined: Yjs cuts them where format
// marks were.
const delta = t => {
  const out = []
  for (const op of t.toDelta()) {
    const e = { i: val(op.insert) }
    if (op.attributes) e.a = sorted(Object.keys(op.attributes), k => op.attributes[k])
    const p = out[out.length - 1]
    if (p && typeof p.i === 'string' && typeof e.i === 'string' && JSON.stringify(p.a) === JSON.stringify(e.a)) p.i += e.i
    else out.push(e)
  }
  return out
}

export const dumpType = t => {
  if (t instanceof Y.XmlText) return { $: 'xmltext', d: delta(t), attrs: attrs(t) }
  if (t instanceof Y.Text) return { $: 'text', d: delta(t), attrs: attrs(t) }
  if (t instanceof Y.XmlHook) return { $: 'xmlhook', n: t.hookName, m: sorted(t.keys(), k => t.get(k)) }
  if (t instanceof Y.XmlElement) return { $: 'xmlel', n: t.nodeName, attrs: attrs(t), c: t.toArray().map(val) }
  if (t instanceof Y.XmlFragment) return { $: 'xmlfrag', c: t.toArray().map(val) }
  if (t instanceof Y.Array) return { $: 'array', v: t.toArray().map(val) }
  if (t instanceof Y.Map) return { $: 'map', m: sorted(t.keys(), k => t.get(k)) }
  throw new Error('unknown type ' + t.constructor.name)
}

export const ROOTS = { text: 'Text', rich: 'Text', arr: 'Array', map: 'Map', xml: 'XmlFragment', 'ключ😀': 'Map', '': 'Array' }

// touch gives a document's roots their types.
export const touch = d => {
  for (const k in ROOTS) d.get(k, Y[ROOTS[k]])
  return d
}

export const dumpDoc = d => {
  touch(d)
  const o = {}
  for (const k in ROOTS) o['.' + k] = dumpType(d.get(k, Y[ROOTS[k]]))
  return o
}

export const svObj = sv => [...(sv instanceof Map ? sv : Y.decodeStateVector(sv)).entries()].sort((a, b) => a[0] - b[0])

export const dsObj = ds => [...ds.clients.entries()].filter(x => x[1].length).sort((a, b) => a[0] - b[0])
  .map(([c, d]) => [c, d.map(x => [x.clock, x.len])])
