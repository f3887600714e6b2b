// Hocuspocus as its documentation starts it; with REDIS_PORT, one of several nodes.
import { Redis } from '@hocuspocus/extension-redis'
import { Server } from '@hocuspocus/server'

const extensions = []
if (process.env.REDIS_PORT) {
  extensions.push(new Redis({ host: '127.0.0.1', port: Number(process.env.REDIS_PORT) }))
}
const server = new Server({
  address: '127.0.0.1',
  port: Number(process.env.PORT),
  quiet: true,
  extensions
})
await server.listen()
console.log('ready')
