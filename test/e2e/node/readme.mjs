// Runs code of the README as one person at one page would: in a process of its
// own, with a page to render to. Usage: node readme.mjs SNIPPET NAME PEER
// The snippet's module exports doc and provider, and editor if it has one. NAME
// is typed, "open" is printed, and "met" once PEER is there too. Ends with its input.
import { once } from 'node:events'
import { pathToFileURL } from 'node:url'
import { JSDOM } from 'jsdom'
import WebSocket from 'ws'

const [snippet, name, peer] = process.argv.slice(2)

const { window } = new JSDOM('<!doctype html><div id="editor"></div>', { url: 'http://localhost/', pretendToBeVisual: true })
for (const key of Object.getOwnPropertyNames(window)) {
  if (!(key in globalThis)) globalThis[key] = window[key]
}
globalThis.WebSocket = WebSocket // as Node 22 and browsers have it

const { doc, provider, editor } = await import(pathToFileURL(snippet))
if (!provider.synced) await new Promise(resolve => provider.once('synced', resolve))

const content = () => editor ? editor.getText() : doc.getText('text').toString()
const met = () => content().includes(name) && content().includes(peer)
if (editor) editor.commands.insertContent(name)
else doc.getText('text').insert(0, name)
console.log('open')
await new Promise(resolve => {
  const look = () => { if (met()) resolve() }
  doc.on('update', look)
  look()
})
if (editor) {
  const names = () => [...provider.awareness.getStates().values()].map(state => state.user?.name)
  await new Promise(resolve => {
    const look = () => { if (names().length === 2 && names().every(Boolean)) resolve() }
    provider.awareness.on('change', look)
    look()
  })
}
console.log('met')
process.stdin.resume()
await once(process.stdin, 'end')
provider.destroy()
process.exit(0)
