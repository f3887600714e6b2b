/**
 * `wsnode dev` as a real process, on ports that nobody else has.
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { patience } from './patience.js'

export const root = fileURLToPath(new URL('../../..', import.meta.url))

let binary = process.env.WSNODE_BINARY
const build = () => {
  if (!binary) {
    const folder = mkdtempSync(join(tmpdir(), 'wsnode-'))
    process.once('exit', () => rmSync(folder, { recursive: true }))
    binary = join(folder, 'wsnode')
    execFileSync('go', ['build', '-o', binary, './cmd/wsnode'], { cwd: root, stdio: 'inherit' })
  }
  return binary
}

const free = (port) => new Promise((resolve) => {
  const server = createServer().once('error', () => resolve(false))
  server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
})

// Ports go up, so that none is handed out twice while its server has yet to start.
let next = 20_000 + Math.floor(Math.random() * 11_000)

/** The first of some ports in a row that nobody listens on. */
export const freePort = async (count = 1) => {
  for (;;) {
    const first = next
    next += count
    const checks = await Promise.all(Array.from({ length: count }, (_, i) => free(first + i)))
    if (checks.every(Boolean)) return first
  }
}

/**
 * Starts the daemon and waits for the line that says it is up.
 *
 * @param {string[]} args
 * @param {RegExp} ready
 */
export const daemon = async (args, ready, env = {}) => {
  const child = spawn(build(), args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
  const output = []
  await new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        output.push(line)
        if (ready.test(line)) resolve()
      })
    }
    child.once('exit', (code) => reject(new Error(`wsnode ${args.join(' ')} ended with ${code}:\n${output.join('\n')}`)))
  })
  return {
    output,
    async stop () {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), patience)
      await ended
      clearTimeout(late)
    }
  }
}

/** Two regions with two nodes each. */
export const startDev = async (...flags) => {
  const port = await freePort(14) // those of the nodes, and two for NATS
  const { stop, output } = await daemon(['dev', '--port', port, '--nats-port', port + 12, ...flags].map(String), /^ready$/)
  const at = (offset) => `127.0.0.1:${port + offset}`
  return {
    output,
    stop,
    port,
    /** host:port of each region's first node */
    hosts: { 'eu-central-1': at(0), 'us-east-1': at(10) },
    /** host:port of the second ones */
    seconds: { 'eu-central-1': at(1), 'us-east-1': at(11) },
    async token (parameters = {}) {
      return (await fetch(`http://${at(0)}/dev/token?${new URLSearchParams(parameters)}`)).text()
    },
    /** Resolves when the grace period of a document has passed. @param {string} documentName */
    async unpinned (documentName) {
      const headers = { Authorization: 'Bearer ' + await this.token() }
      const deadline = Date.now() + patience
      for (;;) {
        const answer = await fetch(`http://${at(0)}/discovery?${new URLSearchParams({ documentName })}`, { headers })
        if (answer.ok && (await answer.json()).isNew) return
        if (Date.now() > deadline) throw new Error(documentName + ' is still pinned')
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    },
    /** A development order, such as `nodes/eu-central-1-0/stop`. */
    async order (path, parameters = {}) {
      const answer = await fetch(`http://${at(0)}/dev/${path}?${new URLSearchParams(parameters)}`, { method: 'POST' })
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
    }
  }
}
