/**
 * Keeps notes in files. The sync service holds a document only while somebody has it open; the keeper is there from
 * before the first user until after the last one, brings the content along, and writes down what changes.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect } from '@wsnode/client'
import { WebSocket } from 'ws'
import * as Y from 'yjs'

/** How long a note is held without users, in milliseconds. */
const linger = 30_000

/** @param {{ folder: string, regions: Record<string, string>, getToken: (documentName: string) => Promise<string> }} options */
export const keeper = ({ folder, regions, getToken }) => {
  /** @type {Map<string, ReturnType<typeof hold>>} by name; held from the first request on, so that two make one */
  const held = new Map()

  const hold = async (name) => {
    const file = join(folder, encodeURIComponent(name) + '.yjs')
    const doc = new Y.Doc()
    await mkdir(folder, { recursive: true })
    const stored = await readFile(file).catch((error) => { if (error.code !== 'ENOENT') throw error })
    if (stored) Y.applyUpdate(doc, stored)

    const connection = connect({
      regions, documentName: name, doc, getToken: () => getToken(name), WebSocketPolyfill: globalThis.WebSocket ?? WebSocket
    })
    connection.awareness.setLocalState(null) // nobody's cursor
    try {
      await connection.whenSynced()
    } catch (error) {
      doc.destroy() // and with it the connection
      throw error
    }

    let unsaved = Promise.resolve()
    const save = () => {
      unsaved = unsaved.then(async () => {
        await writeFile(file + '.new', Y.encodeStateAsUpdate(doc))
        await rename(file + '.new', file)
      }).catch(console.error)
      return unsaved
    }
    let saving
    doc.on('update', () => {
      clearTimeout(saving)
      saving = setTimeout(save, 500)
    })
    const leave = async () => {
      held.delete(name)
      clearTimeout(saving)
      clearTimeout(leaving)
      await save()
      doc.destroy() // and with it the connection
    }
    let leaving = setTimeout(leave, linger)
    connection.awareness.on('change', () => {
      clearTimeout(leaving)
      if (!connection.awareness.getStates().size) leaving = setTimeout(leave, linger)
    })
    return { leave }
  }

  return {
    /** Resolves once the note's content is in the sync service. @param {string} name */
    async open (name) {
      if (!held.has(name)) held.set(name, hold(name))
      try {
        await held.get(name)
      } catch (error) {
        held.delete(name)
        throw error
      }
    },
    async close () {
      await Promise.allSettled([...held.values()].map(async (note) => (await note).leave()))
    }
  }
}
