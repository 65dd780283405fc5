const begin = performance.now()

/** Says on standard error what is done now, and how many seconds the run takes already. */
export function progress (text: string): void {
  process.stderr.write(`${Math.round((performance.now() - begin) / 1_000).toString().padStart(4)} s  ${text}\n`)
}
