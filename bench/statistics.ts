/**
 * A percentile of the values.
 *
 * @param part 0.99 for the 99th percentile
 */
export function percentile (values: number[], part: number): number {
  return Float64Array.from(values).sort()[Math.floor(values.length * part)] ?? NaN
}

/** The median; for an even number of values the mean of the middle two. */
export function median (values: number[]): number {
  const sorted = Float64Array.from(values).sort()
  const [low = NaN, high = NaN] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]]
  return (low + high) / 2
}

/** The median of the values that are not `undefined`; `undefined` when there are none. */
export function medianOfKnown (values: Array<number | undefined>): number | undefined {
  const known = values.filter((value) => value !== undefined)
  return known.length === 0 ? undefined : median(known)
}

/** A value divided by a reference; `undefined` when one of them is. */
export function over (value: number | undefined, reference: number | undefined): number | undefined {
  return value === undefined || reference === undefined ? undefined : value / reference
}

/** A value minus another; `undefined` when one of them is. */
export function difference (value: number | undefined, other: number | undefined): number | undefined {
  return value === undefined || other === undefined ? undefined : value - other
}

/**
 * Measures every cell once per round, so that a temporary slowdown of the machine affects all
 * cells.
 *
 * @returns the measurements of each cell, in the order of the cells
 */
export async function inRounds<Cell, Measurement> (cells: Cell[], rounds: number, measure: (cell: Cell, round: number) => Promise<Measurement>): Promise<Array<{ cell: Cell, measurements: Measurement[] }>> {
  const results: Array<{ cell: Cell, measurements: Measurement[] }> = cells.map((cell) => ({ cell, measurements: [] }))
  for (let round = 0; round < rounds; round++) {
    for (const { cell, measurements } of results) measurements.push(await measure(cell, round))
  }
  return results
}
