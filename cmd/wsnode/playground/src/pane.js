/**
 * One editor, connected as one person to a node or region of choice.
 */
import { connect } from '@wsnode/client'
import { Awareness } from 'y-protocols/awareness'
import * as Y from 'yjs'
import * as dev from './dev.js'
import { element } from './dom.js'
import { editors } from './editors.js'

/** What a person would be shown; the numbers are for the curious. */
const says = {
  connecting: () => 'connecting…',
  synced: () => 'connected',
  waiting: ({ code }) => 'offline, trying again' + (code ? ` (${code})` : ''),
  stopped: ({ code, reason }) => `stopped: ${code} ${reason}`,
  closed: () => 'offline'
}

/** A WebSocket class that sends, once it is told to, one handshake with a token of the teller's choice. */
const forger = () => {
  let token = ''
  return {
    use: (next) => { token = next },
    WebSocket: class extends WebSocket {
      constructor (url, protocols) {
        super(url, token ? ['access_token', token] : protocols)
        token = ''
      }
    }
  }
}

/**
 * @param {object} options
 * @param {{ name: string, color: string }} options.user
 * @param {string} options.documentName
 * @param {any} options.cluster the topology
 * @param {string} options.target a node's name, or a region's for discovery
 * @param {(pane: any) => void} options.changed its status, or the node that it is connected to, is another
 * @param {(pane: any, text: string) => void} options.tell
 * @param {(pane: any) => void} options.remove
 */
export const makePane = ({ user, documentName, cluster, target, changed, tell, remove }) => {
  const nodes = cluster.regions.flatMap((region) => region.nodes)
  const doc = new Y.Doc()
  const awareness = new Awareness(doc)
  awareness.setLocalStateField('user', user)
  const forged = forger()
  let connection
  let mounted
  let mounts = 0

  const act = (work) => async () => {
    try {
      await work()
    } catch (error) {
      tell(pane, error.message)
    }
  }
  const cut = () => dev.order('sessions/drop', { document: documentName, client: doc.clientID })

  const state = element('span', { class: 'state', role: 'status' })
  const saved = element('span', { class: 'saved', title: 'Whether everything here survives the death of any node' })
  const where = element('select', { 'aria-label': `Where ${user.name} connects`, onchange: () => open(where.value) },
    ...cluster.regions.map((region) => element('optgroup', { label: region.name },
      element('option', { value: region.name }, `${region.name}, by discovery`),
      ...region.nodes.map(({ name }) => element('option', { value: name }, name)))))
  const onOff = element('button', {
    type: 'button',
    onclick: () => idle() ? connection.connect() : connection.disconnect()
  })
  const drop = element('button', {
    type: 'button', title: 'Cuts the network under this client', onclick: act(cut)
  }, 'Drop')
  const expire = element('button', {
    type: 'button',
    title: 'Drops this client; its next handshake uses a token that has expired',
    onclick: act(async () => {
      forged.use(await dev.token({ ttl: '-120s' }))
      await cut()
    })
  }, 'Expire token')
  const place = element('div', { class: 'editor' })
  const root = element('article', { class: 'pane', 'aria-label': user.name, style: `--user: ${user.color}` },
    element('header', {},
      element('h3', {}, user.name),
      state,
      saved,
      element('button', { type: 'button', class: 'quiet', 'aria-label': `Remove ${user.name}`, onclick: () => remove(pane) }, '✕')),
    place,
    element('footer', {}, where, onOff, drop, expire))

  const idle = () => connection.status.state === 'closed' || connection.status.state === 'stopped'

  const show = () => {
    const { status } = connection
    const at = status.state === 'synced' && pane.node ? ' to ' + pane.node : ''
    state.textContent = says[status.state](status) + at + (status.readOnly ? ', read only' : '')
    state.dataset.state = status.state
    saved.textContent = status.readOnly ? '' : status.saved ? 'saved' : 'saving…'
    saved.dataset.saved = status.saved
    onOff.textContent = idle() ? 'Go online' : 'Go offline'
    drop.disabled = expire.disabled = status.state !== 'synced'
    changed(pane)
  }

  /** Connects to another place; what was typed, and who typed it, stays. @param {string} next */
  const open = (next) => {
    where.value = next
    const first = (all) => [...all].sort((a, b) => (b.name === next) - (a.name === next))
    const region = cluster.regions.some(({ name }) => name === next)
    connection?.destroy()
    connection = connect({
      regions: region ? dev.entries(first(cluster.regions)) : Object.fromEntries(first(nodes).map(({ name, url }) => [name, url])),
      documentName,
      doc,
      awareness,
      strategy: region ? 'discovery' : 'catch',
      getToken: ({ signal }) => dev.token({}, signal),
      WebSocketPolyfill: forged.WebSocket
    })
    let told = ''
    connection.subscribe(({ code, reason }) => {
      const close = code ? `${code} ${reason || 'connection lost'}` : ''
      if (close && close !== told) tell(pane, close)
      told = close
      show()
    })
    show()
  }

  const unmount = () => {
    mounts++
    mounted?.destroy()
    mounted = undefined
  }

  const pane = {
    root,
    user,
    doc,
    get status () { return connection.status },
    /** The node that the socket goes to, or '' without one. */
    get node () {
      const { provider } = connection
      return (provider.ws && nodes.find(({ url }) => provider.url.startsWith(url + '/'))?.name) || ''
    },
    /** Shows an editor in place of the one before. @param {keyof typeof editors} kind */
    async mount (kind) {
      unmount()
      const turn = mounts
      const { mount } = await editors[kind]()
      if (turn !== mounts) return
      awareness.setLocalStateField('cursor', null)
      mounted = mount(place, { doc, awareness }, user)
    },
    /** Resolves once it is clear whether it can connect. */
    settled: () => new Promise((resolve) => {
      const check = ({ state }) => { if (state !== 'connecting') resolve() }
      connection.subscribe(check)
      check(connection.status)
    }),
    offline: () => connection.disconnect(),
    online: () => connection.connect(),
    destroy () {
      unmount()
      connection.destroy()
      awareness.destroy()
      doc.destroy()
      root.remove()
    }
  }
  open(target)
  return pane
}
