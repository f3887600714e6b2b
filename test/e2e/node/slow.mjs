// A client on a slow link, who drops a connection on which no message completed for a
// while: y-websocket does after 30 s, which is shortened here.
//
// Usage: node slow.mjs URL DOCUMENT TOKEN PATIENCE_MS; prints {connects, length} when the
// document is there.
import WebSocket from 'ws'
import * as Y from 'yjs'
import { WebsocketProvider } from 'y-websocket'

const [url, document, token, patience] = process.argv.slice(2)
const doc = new Y.Doc()
const provider = new WebsocketProvider(url, document, doc, {
  protocols: ['access_token', token],
  WebSocketPolyfill: WebSocket,
  disableBc: true
})
let connects = 0
provider.on('status', ({ status }) => { if (status === 'connected') connects++ })
setInterval(() => {
  if (provider.wsconnected && Date.now() - provider.wsLastMessageReceived > Number(patience)) provider.ws.close()
}, 50)
provider.on('sync', synced => {
  if (!synced) return
  process.stdout.write(JSON.stringify({ connects, length: doc.getText('text').length }) + '\n', () => process.exit(0))
})
