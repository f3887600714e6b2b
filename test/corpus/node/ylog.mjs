// A log of updates in a file (NAME.ylog.gz): the gzip of repeated
// [uint32 LE length][V1 update].
import fs from 'fs'
import zlib from 'zlib'

export const read = file => {
  const all = zlib.gunzipSync(fs.readFileSync(file))
  const log = []
  for (let p = 0; p < all.length;) {
    const n = all.readUInt32LE(p)
    log.push(new Uint8Array(all.subarray(p + 4, p + 4 + n)))
    p += 4 + n
  }
  return log
}

export const write = (file, log) => {
  const parts = log.flatMap(u => {
    const n = Buffer.alloc(4)
    n.writeUInt32LE(u.length)
    return [n, u]
  })
  fs.writeFileSync(file, zlib.gzipSync(Buffer.concat(parts), { level: 9 }))
}
