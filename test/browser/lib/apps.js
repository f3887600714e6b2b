/**
 * The apps under test: TipTap as an app uses it, told by its address who the visitor is and where to go first. The
 * editor and the connection are left in `window.app` for the tests to look at.
 */
const open = (hosts) => `
import * as Y from 'yjs'
import { connect } from '@wsnode/client'

const say = new URLSearchParams(location.search)
export const user = { name: say.get('name'), color: say.get('color') ?? '#1d5fb8' }
export const open = () => connect({
  regions: ${JSON.stringify(Object.fromEntries(Object.entries(hosts).map(([name, host]) => [name, 'ws://' + host])))},
  documentName: say.get('doc'),
  doc: new Y.Doc(),
  strategy: say.get('strategy') ?? 'discovery',
  getToken: async ({ force }) => {
    const answer = await fetch('/api/sync-token?' + new URLSearchParams({ force, name: user.name, region: say.get('region') ?? '' }))
    return answer.text()
  }
})
`

const tiptap = (cursor, history) => `
import { Editor } from '@tiptap/core'
import Collaboration from '@tiptap/extension-collaboration'
import Cursor from '@tiptap/extension-collaboration-${cursor}'
import StarterKit from '@tiptap/starter-kit'
import { open, user } from './open.js'

const connection = open()
const seen = []
connection.subscribe((status) => seen.push(status))
const editor = new Editor({
  element: document.querySelector('#editor'),
  extensions: [
    StarterKit.configure({ ${history}: false }),
    Collaboration.configure({ document: connection.doc }),
    Cursor.configure({ provider: connection.provider, user })
  ]
})
window.app = { connection, editor, seen }
`

/** @type {Record<string, { code: string, modules?: string }>} by TipTap's version */
export const apps = {
  3: { code: tiptap('caret', 'undoRedo') },
  2: { code: tiptap('cursor', 'history'), modules: 'tiptap2' }
}
export { open as openWith }
