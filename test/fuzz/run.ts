import { randomInt } from 'node:crypto'
import fc from 'fast-check'
import type { Test } from 'tap'

/** The seed of everything that is generated. Printed, so that a failure can be repeated. */
export const seed = Number(process.env.LATCHKEY_FUZZ_SEED ?? randomInt(2 ** 31 - 1))

/** How long all parts generate, together. Starting a database and shrinking a counterexample come on top. */
export const seconds = Number(process.env.LATCHKEY_FUZZ_SECONDS ?? 60)

/** How to repeat what was generated from a seed. */
export const repeatWith = (seed: number) => `seed ${seed}: set LATCHKEY_FUZZ_SEED=${seed} to repeat`

/** How many values one round tries. Short rounds keep the time, and each one has a seed of its own. */
const runsPerRound = 10
/** A counterexample that is still large after this is large enough: then nothing smaller is tried. */
const shrinkingMaxMs = 20_000

/**
 * Tries values until the time is over, at least one round of them. A round begins with the
 * fixture as it was at first, so that its seed repeats it.
 *
 * @param seconds for how long
 * @param reset makes everything as it was at first
 * @param check rejects when something is wrong
 */
export async function tryFor<Value> (t: Test, seconds: number, reset: () => Promise<unknown>, values: fc.Arbitrary<Value>, check: (value: Value) => Promise<void>): Promise<void> {
  const start = performance.now()
  let failedAt = Infinity
  const property = fc.asyncProperty(values, async (value) => {
    if (performance.now() - failedAt > shrinkingMaxMs) return
    try {
      await check(value)
    } catch (error) {
      failedAt = Math.min(failedAt, performance.now())
      throw error
    }
  })

  let round = 0
  let runs = 0
  do {
    await reset()
    const roundSeed = (seed + round++) % (2 ** 31)
    const { failed: hasFailed, numRuns, numShrinks, errorInstance: error } = await fc.check(property, { seed: roundSeed, numRuns: runsPerRound })
    runs += numRuns
    if (hasFailed) {
      t.comment(`found in round ${round}, shrunk ${numShrinks} times; ${repeatWith(roundSeed)}\n${error instanceof Error ? error.message : String(error)}`)
      t.fail(`a counterexample was found with ${repeatWith(roundSeed)}`, { at: undefined, stack: undefined, source: undefined })
      return
    }
  } while (performance.now() - start < seconds * 1_000)
  t.pass(`${runs} runs in ${round} rounds, ${Math.round(runs / (performance.now() - start) * 1_000)} a second`)
}
