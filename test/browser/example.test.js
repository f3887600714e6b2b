/**
 * The example app of examples/notes, as its README starts it.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { launch, toEnd, visitors } from './lib/browser.js'
import { daemon, freePort, root } from './lib/cluster.js'
import { limit } from './lib/patience.js'

const home = join(root, 'examples/notes')

test('notes: two people share a note, which is still there after everything was restarted', limit, async (t) => {
  const npm = (...args) => execFileSync('npm', args, { cwd: home, stdio: ['ignore', 'ignore', 'ignore'] })
  npm('ci', '--silent', '--prefer-offline')
  npm('run', '--silent', 'build')
  const folder = mkdtempSync(join(tmpdir(), 'wsnode-notes-'))
  const [port, listen] = [await freePort(), await freePort(2)]

  const start = async () => {
    const backend = spawn(process.execPath, ['server.js'], {
      cwd: home,
      env: { ...process.env, PORT: String(port), DATA: folder, REGIONS: JSON.stringify({ local: `ws://127.0.0.1:${listen}` }) },
      stdio: ['ignore', 'pipe', 'inherit']
    })
    const ended = new Promise((resolve) => backend.once('exit', resolve))
    await new Promise((resolve, reject) => {
      backend.stdout.once('data', resolve)
      ended.then((code) => reject(new Error('the backend ended with ' + code)))
    })
    const node = await daemon(['serve', '--standalone', '--single-region', '--region', 'local', '--log-format', 'json',
      '--listen', `127.0.0.1:${listen}`, '--public-url', `ws://127.0.0.1:${listen}`,
      '--jwks-url', `http://127.0.0.1:${port}/.well-known/jwks.json`], /"msg":"ready"/)
    return async () => {
      backend.kill()
      assert.equal(await ended, 0)
      await node.stop()
    }
  }

  const browser = await launch()
  const url = `http://127.0.0.1:${port}/#groceries`
  const note = (page) => page.getByRole('textbox', { name: 'Note' })

  let stop = await start()
  t.after(async () => {
    await stop()
    rmSync(folder, { recursive: true })
  })
  const visit = visitors(t, browser, { tolerate: /^WebSocket connection to/ })
  t.after(() => browser.close()) // after the screenshots
  const [ada, bob] = [await visit(url), await visit(url)]
  await note(ada).pressSequentially('Milk', { delay: 20 })
  await note(bob).getByText('Milk').waitFor()
  await toEnd(note(bob))
  await note(bob).pressSequentially(' and bread', { delay: 20 })
  await note(ada).getByText('Milk and bread').waitFor()
  await Promise.all([ada.goto('about:blank'), bob.goto('about:blank')])
  await stop()

  stop = await start()
  await ada.goto(url)
  await note(ada).getByText('Milk and bread').waitFor()
  assert.equal((await note(ada).textContent()).trim(), 'Milk and bread')
})
