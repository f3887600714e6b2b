import { Editor } from '@tiptap/core'
import Collaboration from '@tiptap/extension-collaboration'
import CollaborationCaret from '@tiptap/extension-collaboration-caret'
import StarterKit from '@tiptap/starter-kit'
import { element } from './dom.js'

const buttons = [
  ['Bold', 'B', 'bold', (chain) => chain.toggleBold()],
  ['Italic', 'I', 'italic', (chain) => chain.toggleItalic()],
  ['Heading', 'H', 'heading', (chain) => chain.toggleHeading({ level: 2 })],
  ['List', '•', 'bulletList', (chain) => chain.toggleBulletList()],
  ['Undo', '↶', '', (chain) => chain.undo()],
  ['Redo', '↷', '', (chain) => chain.redo()]
]

/** @param {HTMLElement} place @param {import('./editors.js').Shared} shared @param {{ name: string, color: string }} user */
export const mount = (place, { doc, awareness }, user) => {
  const surface = element('div', { class: 'surface' })
  const editor = new Editor({
    element: surface,
    extensions: [
      // Undo is Yjs's: it takes back one's own edits only.
      StarterKit.configure({ undoRedo: false }),
      Collaboration.configure({ document: doc, field: 'tiptap' }),
      CollaborationCaret.configure({ provider: { awareness }, user })
    ],
    editorProps: {
      attributes: { role: 'textbox', 'aria-multiline': 'true', 'aria-label': `TipTap, as ${user.name}` }
    }
  })
  const bar = element('div', { class: 'tools', role: 'group', 'aria-label': 'Formatting' })
  for (const [label, sign, mark, command] of buttons) {
    const button = element('button', {
      type: 'button',
      'aria-label': label,
      title: label,
      onmousedown: (event) => event.preventDefault(), // the selection stays in the editor
      onclick: () => command(editor.chain().focus()).run()
    }, sign)
    if (mark) {
      editor.on('transaction', () => button.setAttribute('aria-pressed', String(editor.isActive(mark))))
      button.setAttribute('aria-pressed', 'false')
    }
    bar.append(button)
  }
  place.append(bar, surface)
  return {
    destroy: () => {
      editor.destroy()
      place.replaceChildren()
    }
  }
}
