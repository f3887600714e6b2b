/**
 * People in real browsers, whose editors have Hocuspocus' provider, unmodified.
 */
import { after, before, test } from 'node:test'
import assert from 'node:assert/strict'
import { launch, toEnd, visitors } from './lib/browser.js'
import { startDev } from './lib/cluster.js'
import { limit } from './lib/patience.js'
import { startSite } from './lib/site.js'

let cluster
let browser
before(async () => { [cluster, browser] = await Promise.all([startDev('--grace', '1s'), launch()]) })
after(() => Promise.all([cluster?.stop(), browser?.close()]))

const provider = `
import { HocuspocusProvider } from '@hocuspocus/provider'
import * as Y from 'yjs'

const say = new URLSearchParams(location.search)
export const user = { name: say.get('name'), color: '#1d5fb8' }
export const open = () => new HocuspocusProvider({
  url: say.get('url'),
  name: say.get('doc'),
  document: new Y.Doc(),
  token: async () => (await fetch('/api/sync-token')).text()
})
`

const editors = {
  TipTap: `
import { Editor } from '@tiptap/core'
import Collaboration from '@tiptap/extension-collaboration'
import CollaborationCaret from '@tiptap/extension-collaboration-caret'
import StarterKit from '@tiptap/starter-kit'
import { open, user } from './open.js'

const provider = open()
const editor = new Editor({
  element: document.querySelector('#editor'),
  extensions: [
    StarterKit.configure({ undoRedo: false }),
    Collaboration.configure({ document: provider.document }),
    CollaborationCaret.configure({ provider, user })
  ]
})
window.app = { provider, text: () => editor.getText() }
`,
  BlockNote: `
import { BlockNoteEditor } from '@blocknote/core'
import { withCollaboration } from '@blocknote/core/yjs'
import { open, user } from './open.js'

const provider = open()
const editor = BlockNoteEditor.create(withCollaboration({
  collaboration: { provider, fragment: provider.document.getXmlFragment('blocknote'), user }
}))
editor.mount(document.querySelector('#editor'))
window.app = { provider, text: () => JSON.stringify(editor.document) }
`
}

for (const [name, code] of Object.entries(editors)) {
  test(`${name} with Hocuspocus' provider: two people, over two nodes`, limit, async (t) => {
    const site = await startSite({ code, open: provider, token: () => cluster.token() })
    t.after(site.close)
    const visit = visitors(t, browser)
    const come = (who, host) => visit(site.url + '?' + new URLSearchParams({ doc: 'hocuspocus-' + name, name: who, url: 'ws://' + host }))
    const ada = await come('Ada', cluster.hosts['eu-central-1'])
    const saved = (page) => page.waitForFunction(() => window.app?.provider.synced && !window.app.provider.hasUnsyncedChanges)
    await saved(ada)
    const bob = await come('Bob', cluster.seconds['eu-central-1'])
    await saved(bob)
    const area = (page) => page.locator('.ProseMirror').first()
    const shows = (page, text) => page.waitForFunction((text) => window.app.text().includes(text), text)
    await area(ada).click()
    await ada.keyboard.type('hello from Ada', { delay: 10 })
    await shows(bob, 'hello from Ada')
    await area(bob).click()
    await toEnd(area(bob))
    await bob.keyboard.type(', and from Bob', { delay: 10 })
    await shows(ada, 'hello from Ada, and from Bob')
    const users = (page, all) => page.waitForFunction((all) => [...window.app.provider.awareness.getStates().values()]
      .map(({ user }) => user?.name).sort().join() === all, all)
    await Promise.all([users(ada, 'Ada,Bob'), users(bob, 'Ada,Bob')])
    await area(ada).getByText('Bob', { exact: true }).first().waitFor({ state: 'attached' })
    await Promise.all([saved(ada), saved(bob)])
    await bob.reload()
    await saved(bob)
    await shows(bob, 'hello from Ada, and from Bob')
    await bob.close()
    await users(ada, 'Ada')
    assert.equal(await ada.evaluate(() => window.app.provider.unsyncedChanges), 0)
  })
}
