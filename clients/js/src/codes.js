/**
 * The close codes of the service: code, what a client should do, and how long to wait before it first comes back, in
 * milliseconds (0: as after a lost connection). Written by the server's own table.
 *
 * @typedef {'stop' | 'full' | 'renew' | 'redirect' | 'retry'} Action
 * @type {ReadonlyArray<readonly [code: number, action: Action, wait: number]>}
 */
export const codes = [
/* begin codes */
  [4001, 'stop', 0],
  [4002, 'renew', 0],
  [4003, 'stop', 0],
  [4004, 'full', 0],
  [4005, 'full', 0],
  [4006, 'retry', 5000],
  [4007, 'stop', 0],
  [4008, 'full', 0],
  [4009, 'redirect', 0],
  [4403, 'stop', 0],
  [4404, 'stop', 0],
  [4415, 'stop', 0],
  [1002, 'retry', 0],
  [1003, 'stop', 0],
  [1007, 'stop', 0],
  [1008, 'retry', 0],
  [1009, 'stop', 0],
  [1012, 'retry', 1000],
  [1013, 'retry', 1000],
  [1006, 'retry', 0]
/* end codes */
]
