/**
 * The code of docs/clients.md, as its readers copy it.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './cluster.js'

const text = readFileSync(join(root, 'docs/clients.md'), 'utf8')

/** Snippets by the word behind `run=` or `file=`. @type {Record<string, string>} */
export const snippets = {}
/** Style sheets, which every page of the tests gets. @type {string[]} */
export const styles = []
/** Fences that no test knows. @type {string[]} */
export const strays = []
for (const [, info, code] of text.matchAll(/^```(.*)\n([^]*?)^```$/gm)) {
  const name = /^js (?:run|file)=(\S+)$/.exec(info)?.[1]
  if (name) snippets[name] = code
  else if (info === 'css') styles.push(code)
  else if (info !== 'sh') strays.push(info + '\n' + code)
}

/** The addresses of the examples, replaced by those of a running cluster. */
export const placed = (code, cluster) => {
  for (const [region, host] of Object.entries(cluster.hosts)) {
    code = code.replaceAll(`wss://${region}.example.com`, 'ws://' + host)
      .replaceAll(`https://${region}.example.com`, 'http://' + host)
  }
  return code
}

/** Packages that the page tells its readers to install. */
export const installed = [...text.matchAll(/^npm install (.*)$/gm)].flatMap(([, names]) => names.split(' '))
  .map((name) => name.endsWith('.tgz') ? '@wsnode/client' : name.replace(/(?<=.)@.*/, ''))
