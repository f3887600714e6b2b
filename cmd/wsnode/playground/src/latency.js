/**
 * How long an edit takes from the editor in which it was typed to the other ones of this page.
 */
import * as Y from 'yjs'
import { element, svg } from './dom.js'

/** How much of the past is shown, in milliseconds. */
const span = 60_000
const height = 96

/** @param {HTMLElement} place */
export const latencyChart = (place) => {
  /** @type {{ at: number, ms: number }[]} */
  let points = []
  const text = element('p', {}, 'Type in one of the editors.')
  const picture = svg('svg', { class: 'chart', height, role: 'img', 'aria-label': 'Latency of edits, in the last minute' })
  place.append(picture, text)

  /** Typed but not yet seen everywhere: client → [clock, time] in the order of typing. */
  const pending = new Map()
  /** What each document had of each client: document → client → clock. */
  const seen = new WeakMap()

  const draw = () => {
    const now = performance.now()
    points = points.filter(({ at }) => now - at < span)
    const width = place.clientWidth || 300
    const top = Math.max(10, ...points.map(({ ms }) => ms)) * 1.3
    const y = (ms) => height - 4 - (ms / top) * (height - 8)
    const step = 10 ** Math.floor(Math.log10(top)) * (top / 10 ** Math.floor(Math.log10(top)) > 5 ? 2 : 1)
    picture.setAttribute('viewBox', `0 0 ${width} ${height}`)
    picture.setAttribute('width', String(width))
    const lines = []
    for (let ms = step; ms < top * 0.9 && lines.length < 12; ms += step) {
      lines.push(svg('line', { x1: 0, x2: width, y1: y(ms), y2: y(ms) }), svg('text', { x: 2, y: y(ms) - 2 }, `${ms} ms`))
    }
    picture.replaceChildren(...lines, ...points.map(({ at, ms }) =>
      svg('circle', { cx: width - ((now - at) / span) * width, cy: y(ms), r: 2.5 })))
    if (points.length) {
      const sorted = points.map(({ ms }) => ms).sort((a, b) => a - b)
      const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(1)
      text.textContent = `Half of the edits of the last minute took less than ${at(0.5)} ms, 95 % less than ${at(0.95)} ms.`
    }
  }
  setInterval(() => points.length && draw(), 1000)
  new ResizeObserver(draw).observe(place)

  /** @param {Y.Doc} doc an editor's document */
  const watch = (doc) => {
    seen.set(doc, new Map())
    doc.on('update', (update, origin, _, { local }) => {
      const now = performance.now()
      if (local) {
        const edits = pending.get(doc.clientID) ?? []
        edits.push([Y.getState(doc.store, doc.clientID), now])
        pending.set(doc.clientID, edits.slice(-100))
        return
      }
      let fresh = false
      for (const [client, edits] of pending) {
        if (client === doc.clientID) continue
        const known = Y.getState(doc.store, client)
        const last = seen.get(doc).get(client) ?? 0
        for (const [clock, at] of edits) {
          // What waited for a reconnect says nothing about the way.
          if (clock > last && clock <= known && now - at < 2000) {
            points.push({ at: now, ms: now - at })
            fresh = true
          }
        }
        seen.get(doc).set(client, known)
      }
      if (fresh) draw()
    })
  }
  return { watch }
}
