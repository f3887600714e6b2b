/**
 * The live picture: regions, their nodes, the registry with the document's pin, and who is connected where. Drawn in
 * CSS pixels, so that its text stays readable on a phone.
 */
import { element, svg } from './dom.js'

const nodeHeight = 40
const gap = 12
/** How long a redirect stays in the picture, in milliseconds. */
const shown = 4000

/** @param {HTMLElement} place */
export const livePicture = (place) => {
  const canvas = svg('svg', { class: 'picture', role: 'img' })
  const caption = element('p', { class: 'caption' })
  place.append(canvas, caption)
  /** @type {{ from: string, to: string, at: number }[]} */
  let redirects = []
  let last = { regions: [], document: undefined, panes: [], name: '' }

  const draw = () => {
    const { regions, document, panes, name } = last
    const width = Math.max(280, place.clientWidth)
    const columns = width >= 200 * regions.length ? Math.max(1, regions.length) : 1
    const columnWidth = (width - gap * (columns - 1)) / columns
    const regionHeight = (region) => 34 + Math.ceil(region.nodes.length / 2) * (nodeHeight + gap)
    const parts = { back: [], lines: [], front: [] }
    const nodes = new Map()
    const centers = new Map()

    parts.back.push(
      svg('rect', { class: 'registry', x: 0.5, y: 0.5, width: width - 1, height: 31, rx: 8 }),
      svg('text', { x: 12, y: 21 }, 'registry'),
      svg('text', { class: 'pin', x: width - 12, y: 21, 'text-anchor': 'end' },
        document ? `“${short(name)}” → ${document.region}` : `“${short(name)}”: not pinned`))

    let y = 56
    let rowHeight = 0
    regions.forEach((region, index) => {
      const column = index % columns
      if (column === 0 && index) {
        y += rowHeight + gap
        rowHeight = 0
      }
      const x = column * (columnWidth + gap)
      const height = regionHeight(region)
      rowHeight = Math.max(rowHeight, height)
      const home = document?.region === region.name
      centers.set(region.name, [x + columnWidth / 2, y + 10])
      const cut = region.registry === 'cut'
      const lineX = columns === 1 ? 6 + index * 8 : x + columnWidth / 2
      parts.back.push(
        svg('line', { class: cut ? 'wire cut' : 'wire', x1: lineX, x2: lineX, y1: 32, y2: y }),
        svg('rect', { class: home ? 'region home' : 'region', x: x + 0.5, y: y + 0.5, width: columnWidth - 1, height, rx: 10 }),
        svg('text', { class: 'name', x: x + 12, y: y + 22 }, region.name + (cut ? ' (cut off)' : '')))
      if (home) parts.back.push(svg('text', { class: 'pin', x: x + columnWidth - 12, y: y + 22, 'text-anchor': 'end' }, 'pinned here'))
      const nodeWidth = (columnWidth - 3 * gap) / 2
      region.nodes.forEach((node, i) => {
        const nx = x + gap + (i % 2) * (nodeWidth + gap)
        const ny = y + 32 + Math.floor(i / 2) * (nodeHeight + gap)
        const sessions = document?.nodes.find((other) => other.node === node.name)?.sessions ?? 0
        const letters = node.name.startsWith(region.name + '-') ? node.name.slice(region.name.length + 1) : node.name
        nodes.set(node.name, [nx + nodeWidth / 2, ny + nodeHeight])
        parts.front.push(
          svg('rect', { class: `node ${node.state}`, x: nx, y: ny, width: nodeWidth, height: nodeHeight, rx: 6 }),
          svg('text', { x: nx + nodeWidth / 2, y: ny + 17, 'text-anchor': 'middle' }, `node ${letters}`),
          svg('text', { class: 'small', x: nx + nodeWidth / 2, y: ny + 32, 'text-anchor': 'middle' },
            node.state === 'up' ? `${sessions} ${sessions === 1 ? 'session' : 'sessions'}` : node.state))
      })
    })
    y += rowHeight + 56

    panes.forEach((pane, index) => {
      const x = ((index + 0.5) / panes.length) * width
      const there = nodes.get(pane.node)
      if (there) {
        const synced = pane.status.state === 'synced'
        parts.lines.push(svg('path', {
          class: synced ? 'link' : 'link pending',
          style: `stroke: ${pane.user.color}`,
          d: `M ${x} ${y - 16} C ${x} ${y - 60}, ${there[0]} ${there[1] + 50}, ${there[0]} ${there[1]}`
        }))
      }
      parts.front.push(
        svg('circle', { cx: x, cy: y, r: 16, style: `fill: ${pane.user.color}`, class: pane.status.state }),
        svg('text', { class: 'initial', x, y: y + 5, 'text-anchor': 'middle' }, pane.user.name[0]),
        svg('text', { class: 'small', x, y: y + 32, 'text-anchor': 'middle' }, pane.user.name))
    })

    for (const { from, to } of redirects) {
      const start = nodes.get(from)
      const end = centers.get(to)
      if (!start || !end) continue
      const middle = [(start[0] + end[0]) / 2, Math.min(start[1], end[1]) - 60]
      parts.front.push(
        svg('path', { class: 'redirect', d: `M ${start[0]} ${start[1] - nodeHeight} Q ${middle[0]} ${middle[1]} ${end[0]} ${end[1]}` }),
        svg('text', { class: 'redirect-label', x: middle[0], y: Math.max(46, middle[1] + 24), 'text-anchor': 'middle' }, '4009 redirect'))
    }

    const height = y + 40
    canvas.setAttribute('viewBox', `0 0 ${width} ${height}`)
    canvas.setAttribute('width', String(width))
    canvas.setAttribute('height', String(height))
    canvas.replaceChildren(...parts.back, ...parts.lines, ...parts.front)

    const others = (document?.nodes.reduce((sum, { sessions }) => sum + sessions, 0) ?? 0) -
      panes.filter(({ status }) => status.state === 'synced').length
    const sentence = [
      document ? `“${name}” is pinned to ${document.region}.` : `“${name}” is not open anywhere.`,
      ...panes.map(({ user, node, status }) => `${user.name}: ${status.state === 'synced' && node ? node : status.state}.`),
      others > 0 ? `${others} more elsewhere.` : ''
    ].join(' ').trim()
    if (caption.textContent !== sentence) {
      caption.textContent = sentence
      canvas.setAttribute('aria-label', sentence)
    }
  }
  new ResizeObserver(draw).observe(place)

  return {
    /** @param {Partial<typeof last>} change */
    show (change) {
      last = { ...last, ...change }
      draw()
    },
    /** @param {string} from a node @param {string} to a region */
    redirect (from, to) {
      const redirect = { from, to, at: Date.now() }
      redirects.push(redirect)
      draw()
      setTimeout(() => {
        redirects = redirects.filter((other) => other !== redirect)
        draw()
      }, shown)
    }
  }
}

const short = (name) => name.length > 18 ? name.slice(0, 17) + '…' : name
