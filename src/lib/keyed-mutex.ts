/**
 * Makes a function that does one work after the other for the same key, in the order in
 * which they came; those for other keys are not waited for.
 *
 * @param endsAll whether a failure is that of all who wait behind it as well: they would
 * only find the same, each after another while
 */
export function keyedMutex (endsAll: (error: unknown) => boolean) {
  const last = new Map<string, Promise<unknown>>()

  return async function inTurn<Result> (key: string, work: () => Promise<Result>): Promise<Result> {
    const before = last.get(key) ?? Promise.resolve()
    const mine = before.then(work, (error) => {
      if (endsAll(error)) throw error
      return work()
    })
    last.set(key, mine)
    try {
      return await mine
    } finally {
      if (last.get(key) === mine) last.delete(key)
    }
  }
}
