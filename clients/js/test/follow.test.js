import { test } from 'node:test'
import assert from 'node:assert/strict'
import { follow, followRedirects } from '../src/follow.js'

test('a provider that makes its URL anew gets another server', () => {
  const provider = { serverUrl: 'wss://eu.example', roomname: 'a/b', get other () { return '' } }
  follow(provider, 'REDIRECT:wss://us.example/a/b')
  assert.equal(provider.serverUrl, 'wss://us.example/a/b')
})

test('a provider that has made its URL once gets another URL, with its query', () => {
  for (const [reason, url] of [
    ['REDIRECT:wss://us.example/a/b', 'wss://us.example/a/b?token=t'],
    ['REDIRECT:wss://us.example', 'wss://us.example/a/b?token=t']
  ]) {
    const provider = { url: 'wss://eu.example/a/b?token=t', roomname: 'a/b' }
    follow(provider, reason)
    assert.equal(provider.url, url)
  }
})

test('redirects are followed where the token may go', () => {
  const closes = (provider, trust) => {
    let told
    followRedirects(Object.assign(provider, { on: (_, listener) => { told = listener } }), trust)
    return told
  }
  const provider = { serverUrl: 'wss://eu.example' }
  const close = closes(provider)
  close({ code: 1012, reason: 'Service restart' })
  close(null)
  close({ code: 4009, reason: 'REDIRECT:ws://open.example/todo' })
  assert.equal(provider.serverUrl, 'wss://eu.example')
  close([{ code: 4009, reason: 'REDIRECT:wss://us.example/todo' }, provider]) // as y-partyserver tells it
  assert.equal(provider.serverUrl, 'wss://us.example/todo')
  const chosen = { serverUrl: 'wss://eu.example' }
  closes(chosen, (url) => url.endsWith('.mine'))({ code: 4009, reason: 'REDIRECT:wss://us.example' })
  assert.equal(chosen.serverUrl, 'wss://eu.example')
  const local = { url: 'ws://127.0.0.1:8080/todo', roomname: 'todo' }
  closes(local)({ code: 4009, reason: 'REDIRECT:ws://127.0.0.1:8090/todo' })
  assert.equal(local.url, 'ws://127.0.0.1:8090/todo')
})
