// The store under test is the process at the other end of stdin and stdout. One line
// asks, one answers:
//
//   new                 → ok                 an empty store
//   apply <update>      → <what clients are sent of it> | -
//   diff <state vector> → <update>
//   sv                  → <state vector>
//   state               → <update>
import fs from 'fs'

console.log = console.warn = console.error = () => {}

let rest = ''
const chunk = Buffer.alloc(1 << 16)
const ask = line => {
  fs.writeSync(1, line + '\n')
  for (;;) {
    const i = rest.indexOf('\n')
    if (i >= 0) {
      const answer = rest.slice(0, i)
      rest = rest.slice(i + 1)
      if (answer.startsWith('! ')) throw new Error('store: ' + answer.slice(2))
      return answer
    }
    const n = fs.readSync(0, chunk)
    if (n === 0) process.exit(1)
    rest += chunk.toString('latin1', 0, n)
  }
}
const b64 = u => Buffer.from(u).toString('base64')
const bytes = s => new Uint8Array(Buffer.from(s, 'base64'))

export const underTest = () => {
  ask('new')
  return {
    delivers: true,
    apply: u => {
      const delivered = ask('apply ' + b64(u))
      return delivered === '-' ? null : bytes(delivered)
    },
    diff: sv => bytes(ask('diff ' + b64(sv))),
    sv: () => bytes(ask('sv')),
    state: () => bytes(ask('state'))
  }
}

// report is the last line that the other end reads.
export const report = verdict => fs.writeSync(1, JSON.stringify(verdict) + '\n')

export const random = seed => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}
