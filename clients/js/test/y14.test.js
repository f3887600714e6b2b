import { test } from 'node:test'
import assert from 'node:assert/strict'
import * as Y from '@y/y'
import WebSocket from 'ws'
import { connect } from '../src/y14.js'
import { jwt } from './lab.js'
import { Region } from './region.js'

test('a document of Yjs 14 is connected, and follows a redirect', { timeout: 300_000 }, async (t) => {
  const pins = new Map()
  const [eu, us] = [await new Region('eu', pins).start(), await new Region('us', pins).start()]
  t.after(() => Promise.all([eu.kill(), us.kill()]))
  pins.set('todo', us)
  const docs = [new Y.Doc(), new Y.Doc()]
  const [ann, bob] = docs.map((doc) => connect({
    regions: { eu: eu.url, us: us.url }, documentName: 'todo', doc, strategy: 'catch', getToken: () => jwt(), WebSocketPolyfill: WebSocket
  }))
  t.after(() => { ann.destroy(); bob.destroy() })
  await Promise.all([ann.whenSynced(), bob.whenSynced()])
  assert.equal(ann.status.region, 'us')
  const arrived = new Promise((resolve) => docs[1].on('update', resolve))
  docs[0].get('text').insert(0, 'hello')
  await arrived
  assert.deepEqual(docs[1].get('text').toJSON(), docs[0].get('text').toJSON())
})
