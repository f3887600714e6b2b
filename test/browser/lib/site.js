/**
 * A web site in the small: bundles a script, serves it with a page around it, and signs tokens for whoever asks, as an
 * app's backend would.
 */
import { createServer } from 'node:http'
import { join } from 'node:path'
import { build } from 'esbuild'
import { root } from './cluster.js'
import { styles } from './snippets.js'

const here = join(root, 'test/browser')

const html = `<!doctype html><html lang="en"><meta charset="utf-8"><title>test</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="app.css">
<style>body { font: 16px sans-serif } #editor { min-height: 300px; border: 1px solid #ccc; padding: 1em }
${styles.join('\n')}</style>
<div id="editor"></div><script type="module" src="app.js"></script></html>`

/**
 * @param {object} options
 * @param {string} options.code the app, a module; may import `./open.js` when that is given
 * @param {string} [options.open]
 * @param {string} [options.modules] the folder whose node_modules are used
 * @param {(url: URL) => Promise<string>} options.token
 */
export const startSite = async ({ code, open = '', modules = here, token }) => {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: modules, sourcefile: 'app.js' },
    bundle: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    outfile: '/app.js',
    logLevel: 'error',
    define: { 'process.env.NODE_ENV': '"development"' },
    loader: { '.ttf': 'dataurl' },
    alias: {
      '@wsnode/client': join(root, 'clients/js/src/index.js'),
      // The client's sources lie elsewhere; there must be one Yjs only.
      yjs: join(modules, 'node_modules/yjs'),
      'y-websocket': join(modules, 'node_modules/y-websocket')
    },
    plugins: [{
      name: 'open.js',
      setup: ({ onResolve, onLoad }) => {
        onResolve({ filter: /^\.\/open\.js$/ }, () => ({ path: 'open.js', namespace: 'docs' }))
        onLoad({ filter: /.*/, namespace: 'docs' }, () => ({ contents: open, resolveDir: modules }))
      }
    }]
  })
  const files = Object.fromEntries(outputFiles.map(({ path, contents }) => [path, contents]))
  const types = { '.js': 'text/javascript', '.css': 'text/css' }
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost')
    if (url.pathname === '/') return response.setHeader('Content-Type', 'text/html').end(html)
    if (url.pathname === '/api/sync-token') return response.setHeader('Cache-Control', 'no-store').end(await token(url))
    const type = types[/\.\w+$/.exec(url.pathname)?.[0]] ?? 'text/plain'
    response.setHeader('Content-Type', type).end(files[url.pathname] ?? '')
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    }
  }
}
