/**
 * The development endpoints of `wsnode dev` (docs/dev-endpoints.md).
 */

const checked = async (answer) => {
  if (answer.ok) return answer
  const { message } = await answer.json().catch(() => ({}))
  throw new Error(message || `${new URL(answer.url).pathname}: HTTP ${answer.status}`)
}

const query = (parameters) => {
  const defined = Object.entries(parameters).filter(([, value]) => value != null && value !== '')
  return defined.length ? '?' + new URLSearchParams(defined) : ''
}

export const topology = async () => (await checked(await fetch('/dev/topology'))).json()

/**
 * Where clients that go by discovery may come in: at each region's URL, which is its first node's, and at its other nodes
 * while that one is stopped.
 */
export const entries = (regions) => Object.fromEntries(
  regions.flatMap((region) => [region, ...region.nodes.slice(1)]).map(({ name, url }) => [name, url]))

/** @returns {Promise<string>} */
export const token = async (parameters = {}, signal) =>
  (await checked(await fetch('/dev/token' + query(parameters), { signal }))).text()

/** @param {string} path such as `nodes/eu-central-1-a/stop` */
export const order = async (path, parameters = {}) => {
  await checked(await fetch('/dev/' + path + query(parameters), { method: 'POST' }))
}

/**
 * Follows the cluster.
 * @param {{ state: (state: any) => void, happened: (event: any) => void, away: (away: boolean) => void }} listener
 */
export const follow = ({ state, happened, away }) => {
  const events = new EventSource('/dev/events')
  events.onopen = () => away(false)
  events.onerror = () => away(true)
  events.addEventListener('state', ({ data }) => state(JSON.parse(data)))
  events.addEventListener('happened', ({ data }) => happened(JSON.parse(data)))
}
