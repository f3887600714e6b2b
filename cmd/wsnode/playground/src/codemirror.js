import { defaultKeymap } from '@codemirror/commands'
import { javascript } from '@codemirror/lang-javascript'
import { HighlightStyle, syntaxHighlighting } from '@codemirror/language'
import { EditorState } from '@codemirror/state'
import { drawSelection, EditorView, keymap, lineNumbers } from '@codemirror/view'
import { tags } from '@lezer/highlight'
import { yCollab, yUndoManagerKeymap } from 'y-codemirror.next'
import * as Y from 'yjs'

// The page's colours, which know light from dark.
const colours = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--accent)', fontWeight: '600' },
  { tag: [tags.string, tags.regexp], color: 'var(--good)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--busy)' },
  { tag: tags.comment, color: 'var(--faint)', fontStyle: 'italic' }
])

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
        javascript(),
        syntaxHighlighting(colours),
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
