/**
 * Debian's Chromium, driven by playwright-core.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { root } from './cluster.js'
import { patience } from './patience.js'

const executablePath = '/usr/bin/chromium'
const artifacts = join(root, 'test/artifacts')

/** Installs Chromium where it is missing. */
const install = () => {
  if (existsSync(executablePath)) return
  const sudo = process.getuid?.() === 0 ? [] : ['sudo']
  const run = (...args) => execFileSync([...sudo, ...args][0], [...sudo, ...args].slice(1), { stdio: 'inherit' })
  run('apt-get', 'update', '-q')
  run('apt-get', 'install', '-yq', '--no-install-recommends', 'chromium', 'fonts-dejavu-core')
}

export const launch = () => {
  install()
  return chromium.launch({
    executablePath,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync']
  })
}

/** What Chromium itself says when a connection fails, as some tests make it. */
export const networkNoise = /^(WebSocket connection to|Failed to load resource: net::)/

/**
 * Opens pages, each a visitor with a profile of its own. At the end of the test every page leaves a screenshot, and
 * must have written no error to its console and have asked nobody but this machine.
 *
 * @param {import('node:test').TestContext} t
 * @param {import('playwright-core').Browser} browser
 * @param {{ tolerate?: RegExp }} [options] errors that the test provokes
 */
export const visitors = (t, browser, { tolerate } = {}) => {
  mkdirSync(artifacts, { recursive: true })
  const pages = []
  const wrong = []
  const file = t.name.replace(/[^\w]+/g, '-').slice(0, 80)
  t.after(async () => {
    for (const [index, page] of pages.entries()) {
      await page.screenshot({ path: join(artifacts, `${file}-${index + 1}.png`), fullPage: true }).catch(() => {})
      await page.context().close()
    }
    if (wrong.length) throw new Error('the browser complains:\n' + wrong.join('\n'))
  })
  /** @param {import('playwright-core').BrowserContextOptions} [look] */
  return async (url, look) => {
    const context = await browser.newContext(look)
    context.setDefaultTimeout(patience)
    const page = await context.newPage()
    pages.push(page)
    page.on('console', (message) => {
      if (message.type() === 'error' && !tolerate?.test(message.text())) wrong.push(message.text())
    })
    page.on('pageerror', (error) => wrong.push(error.stack ?? String(error)))
    page.on('request', (request) => {
      const { protocol, hostname } = new URL(request.url())
      if (/^http|^ws/.test(protocol) && !/^(127\.|localhost$)/.test(hostname)) wrong.push('asked ' + request.url())
    })
    await page.goto(url)
    return page
  }
}

/**
 * Puts the cursor behind an editor's text. The key alone would not do: an editor that draws somebody else's cursor
 * between the key and its own notice of it puts its own cursor back to where it was.
 *
 * @param {import('playwright-core').Locator} area what is edited
 */
export const toEnd = async (area) => {
  for (let i = 0; i < 20; i++) {
    await area.press('Control+End')
    if (await area.evaluate(isAtEnd)) return
  }
  throw new Error('the cursor does not stay at the end')
}

// In the page: whether its cursor, two frames later, has no text behind it.
const isAtEnd = async (area) => {
  for (let i = 0; i < 2; i++) await new Promise((resolve) => requestAnimationFrame(resolve))
  const cursor = getSelection()
  if (!area.contains(cursor.focusNode)) return true // the editor has a cursor of its own kind
  const behind = document.createRange()
  behind.selectNodeContents(area)
  behind.setStart(cursor.focusNode, cursor.focusOffset)
  const text = behind.cloneContents()
  text.querySelectorAll('[class*=collaboration], [class*=caret], [class*=cursor], [class*=ySelection]').forEach((other) => other.remove())
  return text.textContent.replace(/[\s\u2060\ufeff]/g, '') === ''
}
