/**
 * How long the tests wait. A wait ends with its event, so that patience costs only those who wait in vain; the machine may
 * have much else to do.
 */

/** For one step, in milliseconds: a page, a click, a text that appears. */
export const patience = 120_000

/** For a test, which is a few steps. */
export const limit = { timeout: 600_000 }

/**
 * How many times as long as alone a computation takes on this machine now: 1 where nobody else computes.
 */
export const slowness = () => {
  const spent = () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  }
  const [began, before] = [performance.now(), spent()]
  while (spent() - before < 100);
  return Math.max(1, (performance.now() - began) / 100)
}
