/**
 * The buttons that do things to regions, nodes and the store.
 */
import * as dev from './dev.js'
import { element } from './dom.js'

/**
 * @param {HTMLElement} place
 * @param {{ regions: any[], store: string }} cluster
 * @param {(text: string) => void} tell
 */
export const clusterControls = (place, cluster, tell) => {
  const order = (path, parameters) => async () => {
    try {
      await dev.order(path, parameters)
    } catch (error) {
      tell(error.message)
    }
  }
  const { regions } = cluster
  /** @type {((regions: any[], store: string) => void)[]} */
  const updates = []
  const find = (all, name) => all.find((one) => one.name === name)

  const nodeRow = (region, { name }) => {
    const path = `nodes/${encodeURIComponent(name)}/`
    const label = element('span')
    const button = (text, title, onclick) => element('button', { type: 'button', title, 'aria-label': `${text} ${name}`, onclick }, text)
    const drain = button('Stop', 'As SIGTERM does: clients are told to go elsewhere', order(path + 'stop', { how: 'drain' }))
    const kill = button('Kill', 'As SIGKILL does: nobody is told anything', order(path + 'stop', { how: 'kill' }))
    const start = button('Start', '', order(path + 'start'))
    const buttons = [drain, kill, start]
    let lost = false // the button with the focus is gone, and none has taken its place yet
    updates.push((all) => {
      const { state } = find(find(all, region.name).nodes, name)
      const focused = buttons.find((button) => button === document.activeElement)
      label.textContent = state === 'up' ? name : `${name}: ${state}`
      drain.hidden = kill.hidden = state !== 'up'
      start.hidden = state === 'up'
      lost ||= focused?.hidden ?? false
      const next = lost && buttons.find((button) => !button.hidden)
      if (!next) return
      lost = false
      if (focused || document.activeElement === document.body) next.focus()
    })
    return element('li', {}, label, ...buttons)
  }

  for (const region of regions) {
    const path = `regions/${encodeURIComponent(region.name)}/`
    const toggle = element('button', { type: 'button', onclick: () => order(path + toggle.dataset.order)() })
    updates.push((all) => {
      const cut = find(all, region.name).registry === 'cut'
      toggle.textContent = cut ? 'Reconnect to the registry' : 'Cut from the registry'
      toggle.setAttribute('aria-label', cut ? `Reconnect ${region.name} to the registry` : `Cut ${region.name} from the registry`)
      toggle.dataset.order = cut ? 'heal' : 'cut'
    })
    const history = element('button', { type: 'button', onclick: () => order(path + history.dataset.order)() })
    updates.push((all) => {
      const refuses = find(all, region.name).history === 'refuses'
      history.textContent = refuses ? 'Let edits be saved' : 'Refuse to save edits'
      history.title = 'As a full disk under the history does: edits reach everybody, and are not durable'
      history.setAttribute('aria-label', `${history.textContent} in ${region.name}`)
      history.dataset.order = refuses ? 'take' : 'refuse'
    })
    place.append(element('fieldset', {},
      element('legend', {}, region.name), toggle, history,
      element('ul', {}, ...region.nodes.map((node) => nodeRow(region, node)))))
  }
  if (cluster.store !== 'none') {
    const store = element('button', { type: 'button', onclick: () => order('store/' + store.dataset.order)() })
    updates.push((_, state) => {
      const fails = state === 'fails'
      store.textContent = fails ? 'Let the store work' : 'Make the store fail'
      store.title = 'As a store does that is down: what is not open cannot be opened, and edits wait in the history'
      store.dataset.order = fails ? 'work' : 'fail'
    })
    place.append(element('fieldset', {}, element('legend', {}, 'Where documents are kept'), store))
  }
  const show = (state) => updates.forEach((update) => update(state.regions, state.store))
  show(cluster)
  return { show }
}
