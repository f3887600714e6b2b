/**
 * A region in miniature: an HTTP server with /discovery and a y-websocket relay, enough of the service to meet the real
 * provider over real sockets. Regions that are given one `pins` map redirect to each other.
 */
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import * as Y from 'yjs'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import * as sync from 'y-protocols/sync'
import * as aware from 'y-protocols/awareness'

export class Region {
  rooms = new Map()
  handshakes = 0
  /** @type {(url: string, token: string) => [number, string] | undefined} */
  refuse = () => undefined

  /** @param {string} name @param {Map<string, Region>} pins where each document lives */
  constructor (name, pins = new Map()) {
    this.name = name
    this.pins = pins
  }

  async start (port = 0) {
    this.http = createServer((request, response) => this.#discovery(request, response))
    this.wss = new WebSocketServer({ server: this.http, handleProtocols: (protocols) => [...protocols][0] })
    this.wss.on('connection', (socket, request) => this.#join(socket, request))
    await new Promise((resolve) => this.http.listen(port, '127.0.0.1', resolve))
    this.port = this.http.address().port
    this.url = `ws://127.0.0.1:${this.port}`
    return this
  }

  /** Dies: sockets end without a close frame, nothing listens any more. */
  async kill () {
    for (const socket of this.wss.clients) socket.terminate()
    this.http.closeAllConnections()
    await new Promise((resolve) => this.http.close(resolve))
    for (const { doc } of this.rooms.values()) doc.destroy()
    this.rooms.clear()
  }

  /** Hands a document over to another region, as after a healed partition. @param {string} name @param {Region} to */
  move (name, to) {
    const { doc, members } = this.rooms.get(name)
    Y.applyUpdate(to.room(name).doc, Y.encodeStateAsUpdate(doc))
    this.pins.set(name, to)
    for (const socket of members.keys()) socket.close(4009, `REDIRECT:${to.url}/${encodeURIComponent(name)}`)
  }

  room (name) {
    let room = this.rooms.get(name)
    if (!room) {
      const doc = new Y.Doc()
      const awareness = new aware.Awareness(doc)
      awareness.setLocalState(null)
      room = { doc, awareness, members: new Map() }
      this.rooms.set(name, room)
      const all = (type, write) => {
        const encoder = encoding.createEncoder()
        encoding.writeVarUint(encoder, type)
        write(encoder)
        for (const socket of room.members.keys()) socket.send(encoding.toUint8Array(encoder))
      }
      doc.on('update', (update) => all(0, (encoder) => sync.writeUpdate(encoder, update)))
      awareness.on('update', ({ added, updated, removed }, from) => {
        room.members.get(from)?.push(...added)
        const clients = [...added, ...updated, ...removed]
        all(1, (encoder) => encoding.writeVarUint8Array(encoder, aware.encodeAwarenessUpdate(awareness, clients)))
      })
    }
    return room
  }

  #discovery (request, response) {
    const url = new URL(request.url, 'http://x')
    response.setHeader('Access-Control-Allow-Origin', '*')
    response.setHeader('Access-Control-Allow-Headers', 'Authorization')
    const name = url.searchParams.get('documentName')
    const live = this.pins.get(name)
    const { name: region, url: base } = live ?? this
    response.end(JSON.stringify({ region, url: `${base}/${encodeURIComponent(name)}`, isNew: !live }))
  }

  #join (socket, request) {
    this.handshakes++
    const refusal = this.refuse(request.url, request.headers['sec-websocket-protocol'].split(/, ?/)[1])
    if (refusal) return socket.close(...refusal)
    const path = decodeURIComponent(request.url.slice(1))
    const half = (path.length - 1) / 2
    const name = path[half] === '/' && path.slice(0, half) === path.slice(half + 1) ? path.slice(0, half) : path
    const home = this.pins.get(name) ?? this
    if (home !== this) return socket.close(4009, `REDIRECT:${home.url}/${encodeURIComponent(name)}`)
    this.pins.set(name, this)

    const { doc, awareness, members } = this.room(name)
    members.set(socket, [])
    const send = (type, write) => {
      const encoder = encoding.createEncoder()
      encoding.writeVarUint(encoder, type)
      write(encoder)
      if (encoding.length(encoder) > 1) socket.send(encoding.toUint8Array(encoder))
    }
    socket.on('message', (data) => {
      const decoder = decoding.createDecoder(new Uint8Array(data))
      const type = decoding.readVarUint(decoder)
      if (type === 0) send(0, (encoder) => sync.readSyncMessage(decoder, encoder, doc, socket))
      if (type === 1) aware.applyAwarenessUpdate(awareness, decoding.readVarUint8Array(decoder), socket)
    })
    socket.on('close', () => {
      const mine = members.get(socket)
      members.delete(socket)
      aware.removeAwarenessStates(awareness, mine, socket)
    })
    send(0, (encoder) => sync.writeSyncStep1(encoder, doc))
    const here = [...awareness.getStates().keys()]
    if (here.length) send(1, (encoder) => encoding.writeVarUint8Array(encoder, aware.encodeAwarenessUpdate(awareness, here)))
  }
}
