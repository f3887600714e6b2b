/**
 * People in real browsers, in one TipTap document.
 */
import { after, before, test } from 'node:test'
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { apps, openWith } from './lib/apps.js'
import { launch, networkNoise, toEnd, visitors } from './lib/browser.js'
import { root, startDev } from './lib/cluster.js'
import { limit, patience } from './lib/patience.js'
import { startSite } from './lib/site.js'

const people = [['Ada', '#b4341a'], ['Bob', '#0f6b63'], ['Cleo', '#6d28d9']]
let cluster
let browser
before(async () => { [cluster, browser] = await Promise.all([startDev('--grace', '1s'), launch()]) })
after(() => Promise.all([cluster?.stop(), browser?.close()]))

let documents = 0

/**
 * A site with an app, and visitors who come to it.
 * @param {{ force: boolean, name: string, region: string }} [token] parameters for /dev/token
 */
const stage = async (t, version, { token = () => ({}), tolerate } = {}) => {
  const { code, modules } = apps[version]
  const asked = []
  const site = await startSite({
    code,
    open: openWith(cluster.hosts),
    modules: modules && join(root, 'test/browser', modules),
    token: ({ searchParams }) => {
      const who = { force: searchParams.get('force') === 'true', name: searchParams.get('name'), count: asked.length }
      asked.push(who)
      return cluster.token({ regionCode: searchParams.get('region'), ...token(who) })
    }
  })
  t.after(site.close)
  const visit = visitors(t, browser, { tolerate })
  const doc = `tiptap-${version}-${++documents}`
  return {
    doc,
    asked,
    /** @param {number} who */
    async come (who, parameters = {}, look) {
      const [name, color] = people[who]
      return visit(site.url + '?' + new URLSearchParams({ doc, name, color, ...parameters }), look)
    }
  }
}

const state = (page) => page.evaluate(() => window.app.connection.status)
const synced = (page, region = '') => page.waitForFunction(
  (region) => window.app?.connection.status.state === 'synced' && window.app.connection.status.region.includes(region), region)
const content = (page) => page.evaluate(() => JSON.stringify(window.app.editor.getJSON()))
const area = (page) => page.locator('.ProseMirror')
const type = (page, text, delay = 10) => area(page).pressSequentially(text, { delay })
const shows = (page, text) => page.waitForFunction((text) => window.app.editor.getText().includes(text), text)
const sees = (page, name) => page.locator('.ProseMirror').getByText(name, { exact: true }).first().waitFor({ state: 'attached' })

/** All pages show one content, and it holds what was typed. */
const same = async (pages, words) => {
  const deadline = Date.now() + patience
  for (;;) {
    const all = await Promise.all(pages.map(content))
    if (all.every((one) => one === all[0] && words.every((word) => one.includes(word)))) return all[0]
    assert.ok(Date.now() < deadline, 'still different:\n' + all.join('\n'))
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

for (const version of [3, 2]) {
  for (const count of [2, 3]) {
    test(`TipTap ${version}: ${count} people type at the same time`, limit, async (t) => {
      const { come } = await stage(t, version)
      const pages = []
      for (let i = 0; i < count; i++) pages.push(await come(i, { region: i % 2 ? 'us-east-1' : 'eu-central-1' }))
      await Promise.all(pages.map((page) => synced(page)))
      // A paragraph for each: words of several people in one line would be cut up by each other, as they should.
      await type(pages[0], Array(count).fill('.').join('\n'))
      await Promise.all(pages.map((page) => page.waitForFunction(
        (count) => window.app.editor.state.doc.childCount === count, count)))
      await Promise.all(pages.map((page, i) => page.evaluate(async (i) => {
        const { editor } = window.app
        editor.commands.focus(3 * i + 2) // behind the dot of the paragraph
        await new Promise((resolve) => setTimeout(resolve, 300)) // in which the others do the same
      }, i)))
      await Promise.all(pages.map((page, i) => page.keyboard.type(` ${people[i][0]} writes a sentence of some length.`, { delay: 5 })))
      const result = JSON.parse(await same(pages, people.slice(0, count).map(([name]) => `${name} writes a sentence of some length.`)))
      assert.equal(result.content.length, count)
      for (const page of pages) {
        for (let i = 0; i < count; i++) if (page !== pages[i]) await sees(page, people[i][0])
      }
    })
  }

  test(`TipTap ${version}: formatting arrives, undo takes back one's own only, cursors go with their people`, limit, async (t) => {
    const { come } = await stage(t, version)
    const [ada, bob] = [await come(0), await come(1)]
    await Promise.all([synced(ada), synced(bob)])
    await type(ada, 'plain ')
    await ada.keyboard.press('Control+b')
    await type(ada, 'bold')
    await ada.keyboard.press('Control+b')
    await shows(bob, 'plain bold')
    await bob.waitForFunction(() => { // without Ada's cursor, which may lie in it
      const bold = document.querySelector('.ProseMirror strong')?.cloneNode(true)
      bold?.querySelectorAll('[class^=collaboration]').forEach((cursor) => cursor.remove())
      return bold?.textContent.replace(/\u2060/g, '') === 'bold'
    })
    await area(bob).click()
    await toEnd(area(bob))
    await bob.keyboard.press('Enter')
    await type(bob, "Bob's line")
    await bob.keyboard.press('Control+Alt+2')
    await ada.locator('.ProseMirror h2').waitFor()
    await shows(ada, "Bob's line")
    await sees(ada, 'Bob')
    await sees(bob, 'Ada')

    // In as many steps as the machine's slowness made of the typing.
    const press = async (key, until) => {
      for (let i = 0; i < 40 && !until(await ada.evaluate(() => window.app.editor.getText())); i++) await ada.keyboard.press(key)
    }
    await area(ada).click()
    await press('Control+z', (text) => !text.includes('p'))
    await same([ada, bob], ["Bob's line"])
    assert.ok(!(await content(bob)).includes('plain'))
    await press('Control+Shift+z', (text) => text.includes('plain bold'))
    await same([ada, bob], ['plain', "Bob's line"])

    await bob.close()
    await ada.waitForFunction(() => window.app.connection.awareness.getStates().size === 1)
    await area(ada).getByText('Bob', { exact: true }).waitFor({ state: 'detached' })
  })

  for (const strategy of ['discovery', 'catch']) {
    test(`TipTap ${version}: people of two regions meet in one, by ${strategy}`, limit, async (t) => {
      const { come } = await stage(t, version)
      const ada = await come(0, { region: 'us-east-1', strategy })
      await synced(ada, 'us-east-1')
      const bob = await come(1, { region: 'eu-central-1', strategy })
      await synced(bob, 'us-east-1')
      assert.equal((await bob.evaluate(() => window.app.seen)).some(({ code }) => code === 4009), strategy === 'catch')
      await type(bob, 'from Europe')
      await shows(ada, 'from Europe')
    })
  }
}

test('a document that has moved meanwhile: redirected long after the first connect, nothing is lost', limit, async (t) => {
  const { come, doc } = await stage(t, 3)
  const ada = await come(0, { region: 'us-east-1' })
  await synced(ada, 'us-east-1')
  await type(ada, 'one ')
  await ada.evaluate(() => window.app.connection.disconnect())
  await type(ada, 'two ')
  await cluster.unpinned(doc)
  const bob = await come(1, { region: 'eu-central-1', strategy: 'catch' })
  await synced(bob, 'eu-central-1')
  await type(bob, 'three')
  await ada.evaluate(() => window.app.connection.connect())
  await synced(ada, 'eu-central-1')
  assert.ok((await ada.evaluate(() => window.app.seen)).some(({ code }) => code === 4009))
  await same([ada, bob], ['one two', 'three'])
  await sees(bob, 'Ada')
})

test('offline and back: what both typed meanwhile is there', limit, async (t) => {
  const { come, doc } = await stage(t, 3, { tolerate: networkNoise })
  const [ada, bob] = [await come(0), await come(1)]
  await Promise.all([synced(ada), synced(bob)])
  await type(ada, 'start')
  await shows(bob, 'start')
  await sees(bob, 'Ada')
  // Chromium lets open sockets live when it goes offline: hers is cut as well, and a new one cannot be opened. But what
  // arrives in between it holds back, and with it the end of the socket, which then her provider takes for dead after 30 s
  // of silence. So nothing should be on its way; the wait bears what is nevertheless.
  await ada.waitForFunction(() => window.app.connection.status.saved)
  await ada.context().setOffline(true)
  await cluster.order('sessions/drop', { document: doc, client: await ada.evaluate(() => window.app.connection.doc.clientID) })
  await ada.waitForFunction(() => window.app.connection.status.state === 'waiting')
  await area(bob).getByText('Ada', { exact: true }).waitFor({ state: 'detached' })
  await type(ada, ' offline')
  await type(bob, 'online ')
  assert.ok(!(await content(bob)).includes('offline'))
  assert.ok(!(await content(ada)).includes('online'))
  assert.notEqual((await state(ada)).state, 'synced')
  await ada.context().setOffline(false)
  await same([ada, bob], ['offline', 'online'])
  await sees(bob, 'Ada')
})

test('an expired token is replaced without the user noticing', limit, async (t) => {
  const { come, asked } = await stage(t, 3, {
    token: ({ force }) => force ? {} : { ttl: '-2m' }
  })
  const ada = await come(0, { strategy: 'catch' })
  await synced(ada)
  assert.deepEqual(asked.map(({ force }) => force), [false, true])
  assert.ok((await ada.evaluate(() => window.app.seen)).some(({ code }) => code === 4002))
  assert.equal((await state(ada)).state, 'synced')
})

test('a tab that was left and comes back is the same person', limit, async (t) => {
  const { come } = await stage(t, 3)
  const [ada, bob] = [await come(0), await come(1)]
  await Promise.all([synced(ada), synced(bob)])
  await type(ada, 'hello')
  await sees(bob, 'Ada')
  await ada.reload()
  await synced(ada)
  await shows(ada, 'hello')
  await area(ada).click()
  await sees(bob, 'Ada')
  await bob.waitForFunction(() => window.app.connection.awareness.getStates().size === 2)
})
