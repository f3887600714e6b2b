/**
 * The backend of an app that shares notes: it knows its users, signs their tokens, and keeps the notes.
 */
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { keeper } from './keeper.js'
import { jwks, sign } from './tokens.js'

const port = Number(process.env.PORT ?? 3000)
const regions = JSON.parse(process.env.REGIONS ?? '{"local":"ws://127.0.0.1:8080"}')
const dist = fileURLToPath(new URL('dist', import.meta.url))
const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' }
const notes = keeper({
  regions,
  folder: process.env.DATA ?? fileURLToPath(new URL('data', import.meta.url)),
  getToken: (documentName) => sign('backend', documentName)
})

/** Who asks: your session cookie knows. */
const userOf = (request) => request.headers.cookie ?? 'somebody'

const routes = [
  ['GET', /^\/\.well-known\/jwks\.json$/, async () => [200, 'application/json', jwks]],
  ['POST', /^\/api\/notes\/([^/]+)$/, async (note) => {
    await notes.open(note)
    return [200, 'application/json', JSON.stringify({ regions, documentName: note })]
  }],
  ['GET', /^\/api\/sync-token\/([^/]+)$/, async (note, request) => [200, 'text/plain', await sign(userOf(request), note)]],
  ['GET', /^(\/.*)$/, async (path) => {
    const file = join(dist, normalize(path === '/' ? '/index.html' : path))
    return [200, types[extname(file)] ?? 'application/octet-stream', await readFile(file)]
  }]
]

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost')
  for (const [method, pattern, answer] of routes) {
    const match = request.method === method && pattern.exec(pathname)
    if (!match) continue
    try {
      const [status, type, body] = await answer(decodeURIComponent(match[1] ?? ''), request)
      return response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body)
    } catch (error) {
      if (error.code !== 'ENOENT') console.error(error)
      return response.writeHead(error.code === 'ENOENT' ? 404 : 500).end()
    }
  }
  response.writeHead(404).end()
})
server.listen(port, process.env.HOST ?? '127.0.0.1', () => console.log(`http://127.0.0.1:${port}/`))

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    server.close()
    server.closeAllConnections()
    await notes.close()
    process.exit()
  })
}
