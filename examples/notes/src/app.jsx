import Collaboration from '@tiptap/extension-collaboration'
import CollaborationCaret from '@tiptap/extension-collaboration-caret'
import { EditorContent, useEditor } from '@tiptap/react'
import StarterKit from '@tiptap/starter-kit'
import React, { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { message, useConnection, useStatus } from './connection.js'

const names = ['Ada', 'Bob', 'Cleo', 'Dara']
const user = {
  name: names[Math.floor(Math.random() * names.length)],
  color: ['#b4341a', '#0f6b63', '#6d28d9', '#1d5fb8'][Math.floor(Math.random() * 4)]
}

const Note = ({ connection }) => {
  const status = useStatus(connection)
  const editor = useEditor({
    extensions: [
      StarterKit.configure({ undoRedo: false }),
      Collaboration.configure({ document: connection.doc }),
      CollaborationCaret.configure({ provider: connection.provider, user })
    ],
    editorProps: { attributes: { role: 'textbox', 'aria-multiline': 'true', 'aria-label': 'Note' } }
  }, [connection])
  return (
    <>
      <p className="status" role="status">{message(status)}</p>
      <EditorContent editor={editor} />
    </>
  )
}

const App = () => {
  const note = location.hash.slice(1) || 'welcome'
  const connection = useConnection(note)
  return (
    <>
      <h1>{note}</h1>
      {connection instanceof Error
        ? <p className="status" role="status">This note cannot be opened right now. Please reload the page.</p>
        : connection && <Note connection={connection} />}
    </>
  )
}

createRoot(document.getElementById('app')).render(<StrictMode><App /></StrictMode>)
