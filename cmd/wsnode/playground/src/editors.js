/**
 * The two editors, loaded when they are first shown. Each exports `mount(place, shared, user)`, which answers with what
 * removes it again. They keep their content in different types of the same document, so that changing tabs loses
 * nothing.
 *
 * @typedef {{ doc: import('yjs').Doc, awareness: import('y-protocols/awareness').Awareness }} Shared
 */
export const editors = {
  tiptap: () => import('./tiptap.js'),
  codemirror: () => import('./codemirror.js')
}
