/**
 * How many edits turn one text into another: insert, delete or replace a character, or swap two
 * neighbours (optimal string alignment, https://en.wikipedia.org/wiki/Damerau–Levenshtein_distance).
 * Stops where it is certain that there are more than `max`, and returns Infinity.
 */
export function editDistance (from: string, to: string, max: number): number {
  // Each edit brings in at most one character. Most names differ in more, and need no table.
  let missing = 0
  for (const character of to) if (!from.includes(character) && ++missing > max) return Infinity
  let beforeLast: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const isEqual = from[row - 1] === to[column - 1]
      const isSwap = row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      current.push(Math.min(
        Number(last[column]) + 1,
        Number(current[column - 1]) + 1,
        Number(last[column - 1]) + (isEqual ? 0 : 1),
        isSwap ? Number(beforeLast[column - 2]) + 1 : Infinity
      ))
    }
    [beforeLast, last] = [last, current]
    // A swap reaches over one row: from two rows above the limit on, no way leads back below it.
    if (Math.min(...beforeLast, ...last) > max) return Infinity
  }
  return Number(last.at(-1))
}
