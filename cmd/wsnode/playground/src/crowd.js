/**
 * Guests who fill a document up to a limit, so that the next one is refused.
 */
import { connect } from '@wsnode/client'
import * as Y from 'yjs'
import * as dev from './dev.js'

/**
 * @param {object} options
 * @param {string} options.documentName
 * @param {any[]} options.regions
 * @param {number} options.limit users of the document that the guests' tokens allow
 * @param {(text: string) => void} options.tell
 * @returns {Promise<() => void>} lets the guests leave; resolves when one was refused, or all came in
 */
export const invite = async ({ documentName, regions, limit, tell }) => {
  /** @type {import('@wsnode/client').Connection[]} */
  const guests = []
  const leave = () => guests.forEach(({ doc }) => doc.destroy())
  try {
    for (let i = 1; i <= limit + 1; i++) {
      const guest = connect({
        regions: dev.entries(regions),
        documentName,
        doc: new Y.Doc(),
        getToken: ({ signal }) => dev.token({ maxUsersPerDoc: limit }, signal)
      })
      guests.push(guest)
      guest.awareness.setLocalStateField('user', { name: `Guest ${i}`, color: '#475569' })
      try {
        await guest.whenSynced()
      } catch (error) {
        tell(`Guest ${i} was refused: ${error.code} ${error.message}`)
        return leave
      }
    }
    tell('Nobody was refused.')
  } catch (error) {
    tell(error.message)
  }
  return leave
}
