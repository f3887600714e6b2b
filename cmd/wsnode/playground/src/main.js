/**
 * The playground: puts the parts together.
 */
import { clusterControls } from './cluster.js'
import { invite } from './crowd.js'
import * as dev from './dev.js'
import { byId, element } from './dom.js'
import { editors } from './editors.js'
import { latencyChart } from './latency.js'
import { makePane } from './pane.js'
import { person } from './people.js'
import { livePicture } from './picture.js'

/**
 * What the address says: `#doc=minutes&editor=codemirror`, so that it can be opened on another device; with `&people=0`
 * the people begin with Ada, otherwise with somebody else on each device.
 */
const address = () => {
  const fields = new URLSearchParams(location.hash.slice(1))
  const editor = fields.get('editor') ?? ''
  return {
    documentName: fields.get('doc') || 'playground',
    editor: Object.hasOwn(editors, editor) ? editor : 'tiptap',
    first: Number(fields.get('people') ?? Math.floor(Math.random() * 4) * 2)
  }
}
/** @param {{ documentName?: string, editor?: string }} change */
const go = (change) => {
  const { documentName, editor } = { ...address(), ...change }
  const fields = new URLSearchParams(location.hash.slice(1))
  fields.set('doc', documentName)
  fields.set('editor', editor)
  location.hash = fields.toString()
}

const trouble = byId('trouble')
const complain = (text) => {
  trouble.textContent = text
  trouble.hidden = !text
}

const log = byId('log')
const tell = (text, person) => {
  const time = new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' })
  log.append(element('li', {}, element('time', {}, time), ' ', person ? person + ': ' : '', text))
  while (log.children.length > 100) log.firstElementChild.remove()
  log.scrollTop = log.scrollHeight
}

const happenings = {
  pinned: ({ document, region }) => `“${document}” pinned to ${region}`,
  unpinned: ({ document }) => `“${document}” unpinned`,
  redirected: ({ document, node, to }) => `${node} redirects “${document}” to ${to}`,
  refused: ({ document, node, code, reason }) => `${node} refuses “${document}”: ${code} ${reason}`,
  joined: ({ document, node }) => `joined “${document}” on ${node}`,
  left: ({ document, node }) => `left “${document}” on ${node}`,
  node: ({ node, state }) => `${node} is ${state}`,
  history: ({ region, history }) => `the history of ${region} ${history} edits`,
  store: ({ store }) => `the store ${store}`,
  registry: ({ region, registry }) => `${region} is ${registry === 'cut' ? 'cut from' : 'connected to'} the registry`
}

const start = async () => {
  const cluster = await dev.topology()
  const { regions } = cluster
  const picture = livePicture(byId('picture'))
  const controls = clusterControls(byId('cluster'), cluster, tell)
  const chart = latencyChart(byId('latency'))
  const home = byId('panes')
  let { documentName, editor, first } = address()
  let panes = []
  let people = first

  const draw = () => {
    picture.show({ panes, name: documentName })
    const allOut = panes.every(({ status }) => status.state === 'closed')
    byId('all-offline').textContent = allOut ? 'Everybody returns' : 'Everybody leaves'
    byId('all-offline').dataset.out = String(allOut)
  }

  const add = (target) => {
    const pane = makePane({
      user: person(people++),
      documentName,
      cluster,
      target,
      changed: draw,
      tell: ({ user }, text) => tell(text, user.name),
      remove: (leaver) => {
        leaver.destroy()
        panes = panes.filter((other) => other !== leaver)
        draw()
      }
    })
    panes = [...panes, pane]
    chart.watch(pane.doc)
    home.append(pane.root)
    pane.mount(editor)
    draw()
    return pane
  }

  const selectTab = () => {
    for (const tab of byId('tabs').querySelectorAll('button')) {
      const selected = tab.dataset.editor === editor
      tab.setAttribute('aria-selected', String(selected))
      tab.tabIndex = selected ? 0 : -1
      if (selected) home.setAttribute('aria-labelledby', tab.id)
    }
  }

  /** Two people who come to two regions, one after the other: the second is redirected. */
  const open = async () => {
    panes.forEach((pane) => pane.destroy())
    panes = []
    people = first
    byId('document').value = documentName
    const host = add(regions[0].nodes[0].name)
    await host.settled()
    if (panes.length === 1 && panes[0] === host) add((regions[1] ?? regions[0]).nodes[0].name)
  }

  window.addEventListener('hashchange', () => {
    const before = { documentName, editor }
    ;({ documentName, editor } = address())
    selectTab()
    if (documentName !== before.documentName) open()
    else if (editor !== before.editor) panes.forEach((pane) => pane.mount(editor))
  })
  byId('document-form').addEventListener('submit', (event) => {
    event.preventDefault()
    go({ documentName: byId('document').value })
  })
  byId('tabs').addEventListener('click', ({ target }) => target.dataset.editor && go({ editor: target.dataset.editor }))
  byId('tabs').addEventListener('keydown', ({ key }) => {
    if (key !== 'ArrowLeft' && key !== 'ArrowRight') return
    const other = byId('tabs').querySelector('[aria-selected=false]')
    other.focus()
    other.click()
  })
  byId('skip').addEventListener('click', (event) => {
    event.preventDefault() // its address would be another document's
    home.focus()
  })
  byId('add-pane').addEventListener('click', () => add(regions[panes.length % regions.length].name))
  byId('all-offline').addEventListener('click', ({ currentTarget }) => {
    const out = currentTarget.dataset.out === 'true'
    panes.forEach((pane) => out ? pane.online() : pane.offline())
  })

  const fill = byId('fill')
  let leave
  fill.addEventListener('click', async () => {
    if (leave) {
      leave()
      leave = undefined
      fill.textContent = 'Fill the document'
      return
    }
    fill.disabled = true
    const limit = panes.filter(({ status }) => status.state === 'synced').length + 2
    leave = await invite({ documentName, regions, limit, tell })
    fill.disabled = false
    fill.textContent = 'Let the guests leave'
  })

  const countdown = graceCountdown(byId('grace'))
  dev.follow({
    state: (state) => {
      const document = state.documents.find(({ tenant, app, name }) => tenant === 'dev' && app === 'demo' && name === documentName)
      picture.show({ regions: state.regions, document })
      controls.show(state)
      countdown(document?.graceMs ?? null)
    },
    happened: (event) => {
      if (event.document !== undefined && event.document !== documentName) return
      if (happenings[event.what]) tell(happenings[event.what](event))
      if (event.what === 'redirected') picture.redirect(event.node, event.to)
    },
    away: (away) => complain(away ? 'wsnode dev does not answer. This page goes on as soon as it does.' : '')
  })
  picture.show({ regions })
  selectTab()
  open()
}

/** Counts down between the reports of the server. @param {HTMLElement} place */
const graceCountdown = (place) => {
  let end = 0
  const tick = () => {
    const left = Math.max(0, end - performance.now())
    place.textContent = `Nobody is here. Unpinned in ${(left / 1000).toFixed(1)} s.`
  }
  let timer
  /** @param {number | null} ms */
  return (ms) => {
    clearInterval(timer)
    place.hidden = ms === null
    if (ms === null) return
    end = performance.now() + ms
    tick()
    timer = setInterval(tick, 100)
  }
}

start().catch((error) => complain(`wsnode dev does not answer: ${error.message}. Reload this page once it runs.`))
