// Preloaded by the test command: runs the same tests against y-websocket 2.
import { register } from 'node:module'

register('data:text/javascript,' + encodeURIComponent(`
  export const resolve = (name, context, next) => next(name === 'y-websocket' ? 'y-websocket-2' : name, context)
`), import.meta.url)
