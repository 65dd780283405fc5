/** The value that a part of all values is below: 0.99 for the 99th percentile. */
export function percentile (values: number[], part: number): number {
  return Float64Array.from(values).sort()[Math.floor(values.length * part)] ?? NaN
}

/** The value in the middle; of an even number of values the mean of the two. */
export function median (values: number[]): number {
  const sorted = Float64Array.from(values).sort()
  const [low = NaN, high = NaN] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]]
  return (low + high) / 2
}

/** The median of those that are known; `undefined` when none is. */
export function medianOfKnown (values: Array<number | undefined>): number | undefined {
  const known = values.filter((value) => value !== undefined)
  return known.length === 0 ? undefined : median(known)
}

/** How many times a reference a value is; `undefined` where one of them is not known. */
export function over (value: number | undefined, reference: number | undefined): number | undefined {
  return value === undefined || reference === undefined ? undefined : value / reference
}

/**
 * Measures every cell once, then every cell again: what slows the machine down for a
 * while meets them all.
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
