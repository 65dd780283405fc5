const begin = performance.now()

/** Prints the current step and the elapsed seconds on standard error. */
export function progress (text: string): void {
  process.stderr.write(`${Math.round((performance.now() - begin) / 1_000).toString().padStart(4)} s  ${text}\n`)
}
