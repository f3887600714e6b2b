import { defaultKeymap } from '@codemirror/commands'
import { markdown } from '@codemirror/lang-markdown'
import { defaultHighlightStyle, syntaxHighlighting } from '@codemirror/language'
import { EditorState } from '@codemirror/state'
import { drawSelection, EditorView, keymap, lineNumbers } from '@codemirror/view'
import { yCollab, yUndoManagerKeymap } from 'y-codemirror.next'
import * as Y from 'yjs'

/** @param {HTMLElement} place @param {import('./editors.js').Shared} shared @param {{ name: string, color: string }} user */
export const mount = (place, { doc, awareness }, user) => {
  const text = doc.getText('codemirror')
  const undoManager = new Y.UndoManager(text)
  awareness.setLocalStateField('user', user)
  const view = new EditorView({
    parent: place,
    state: EditorState.create({
      doc: text.toString(),
      extensions: [
        lineNumbers(),
        drawSelection(),
        EditorView.lineWrapping,
        keymap.of([...yUndoManagerKeymap, ...defaultKeymap]),
        markdown(),
        syntaxHighlighting(defaultHighlightStyle),
        EditorView.contentAttributes.of({ 'aria-label': `CodeMirror, as ${user.name}` }),
        yCollab(text, awareness, { undoManager })
      ]
    })
  })
  return {
    destroy: () => {
      view.destroy()
      undoManager.destroy()
      place.replaceChildren()
    }
  }
}
