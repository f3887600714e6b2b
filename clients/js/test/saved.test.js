import { test } from 'node:test'
import assert from 'node:assert/strict'
import { lab } from './lab.js'

/** The questions that a socket was sent: what is to come back. */
const questions = (socket) => socket.sent.filter((frame) => frame[0] === 102).map((frame) => frame.slice())
const typed = (l, text) => l.doc.getText('t').insert(0, text)

test('a document is saved when the server says so, and not before', async (t) => {
  const l = lab(t)
  await l.pass(0)
  let saved = false
  l.connection.whenSaved().then(() => { saved = true })
  l.socket.sync()
  assert.equal(questions(l.socket).length, 1)
  assert.equal(l.connection.status.saved, false)
  l.socket.receive(questions(l.socket)[0])
  assert.equal(l.connection.status.saved, true)
  await l.pass(1000)
  assert.ok(saved)

  typed(l, 'a')
  assert.equal(l.connection.status.saved, false)
  const [edit, question] = l.socket.sent.slice(-2)
  assert.deepEqual([edit[0], question[0]], [0, 102], 'the edit goes before the question')
  l.socket.receive(questions(l.socket)[0])
  assert.equal(l.connection.status.saved, false, 'an old answer')
  l.socket.receive(questions(l.socket)[1])
  assert.equal(l.connection.status.saved, true)
})

test('one question is open at a time, and at most two a second are asked', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  l.socket.receive(questions(l.socket)[0])
  for (let i = 0; i < 100; i++) {
    typed(l, 'x')
    await l.pass(10)
    const all = questions(l.socket)
    l.socket.receive(all.at(-1))
  }
  const asked = questions(l.socket).length
  assert.ok(asked >= 2 && asked <= 4, `${asked} questions in a second`)
  await l.pass(500)
  l.socket.receive(questions(l.socket).at(-1))
  assert.equal(l.connection.status.saved, true)
})

test('what was edited offline is asked about after the next sync', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  l.socket.receive(questions(l.socket)[0])
  l.socket.end(1006)
  typed(l, 'offline')
  assert.equal(l.connection.status.saved, false)
  await l.pass(400)
  l.socket.sync()
  assert.equal(l.connection.status.saved, false)
  l.socket.receive(questions(l.socket)[0])
  assert.equal(l.connection.status.saved, true)
})

test('what others wrote leaves it saved', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  l.socket.receive(questions(l.socket)[0])
  l.socket.receive(new Uint8Array([0, 2, 10, 1, 1, 9, 0, 4, 1, 1, 116, 1, 120, 0].map((b, i) => i === 2 ? 11 : b)))
  assert.equal(l.doc.getText('t').toString(), 'x')
  assert.equal(l.connection.status.saved, true)
})

test('whenSaved rejects when the connection stops', async (t) => {
  const l = lab(t)
  await l.pass(0)
  l.socket.sync()
  const saved = l.connection.whenSaved()
  l.socket.end(4003, 'Forbidden: document')
  await assert.rejects(saved, { code: 4003 })
})

for (const wanted of [true, false]) {
  test(`a page that is left ${wanted ? 'asks' : 'does not ask'} while edits are not saved${wanted ? '' : ', unless the app wants it'}`, async (t) => {
    const page = new EventTarget()
    for (const method of ['addEventListener', 'removeEventListener']) globalThis[method] = page[method].bind(page)
    t.after(() => { delete globalThis.addEventListener; delete globalThis.removeEventListener })
    const l = lab(t, { warnBeforeUnload: wanted })
    const leave = () => {
      const event = new Event('beforeunload', { cancelable: true })
      page.dispatchEvent(event)
      return event.defaultPrevented
    }
    await l.pass(0)
    assert.equal(leave(), false, 'before any edit')
    l.socket.sync()
    typed(l, 'a')
    assert.equal(leave(), wanted)
    l.socket.receive(questions(l.socket)[0])
    await l.pass(500)
    l.socket.receive(questions(l.socket).at(-1))
    assert.equal(leave(), false, 'once it is saved')
    typed(l, 'b')
    l.connection.destroy()
    assert.equal(leave(), false, 'after destroy')
  })
}
