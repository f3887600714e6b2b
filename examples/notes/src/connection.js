import { connect } from '@wsnode/client'
import { useEffect, useState, useSyncExternalStore } from 'react'
import * as Y from 'yjs'

const open = async (note) => {
  // The backend sees to it that the note's content is there, and says where the service is.
  const answer = await fetch('/api/notes/' + encodeURIComponent(note), { method: 'POST' })
  if (!answer.ok) throw new Error('no note: ' + answer.status)
  const { regions, documentName } = await answer.json()
  return connect({
    regions,
    documentName,
    doc: new Y.Doc(),
    getToken: async ({ signal }) => {
      const answer = await fetch('/api/sync-token/' + encodeURIComponent(note), { signal })
      if (answer.status === 401) return null
      if (!answer.ok) throw new Error('no token: ' + answer.status)
      return answer.text()
    }
  })
}

/** The connection to a note, null while it is being made, or an Error when the backend gave none. */
export const useConnection = (note) => {
  const [connection, set] = useState(null)
  useEffect(() => {
    let gone = false
    let opened
    open(note).then((made) => {
      opened = made
      if (gone) made.doc.destroy()
      else set(made)
    }).catch((error) => { if (!gone) set(error) })
    return () => {
      gone = true
      set(null)
      opened?.doc.destroy() // and with it the connection
    }
  }, [note])
  return connection
}

export const useStatus = (connection) => useSyncExternalStore(connection.subscribe, () => connection.status)

const stops = {
  4001: 'Please sign in.',
  4002: 'Please sign in again.',
  4003: 'You have no access to this note.',
  4008: 'Too many people are reading this note. Try again later.'
}

/** What the user reads about the connection; '' when there is nothing to say. */
export const message = ({ state, code, readOnly }) => ({
  connecting: '',
  synced: readOnly ? 'You can read this note, but not change it.' : '',
  waiting: 'Offline. Your changes are kept, and sent when the connection is back.',
  stopped: stops[code] ?? 'This note cannot be shared right now. Please reload the page.',
  closed: ''
})[state]
