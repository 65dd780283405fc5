/** Blocks the thread for a moment: only where nothing else could go on anyway. */
export function sleepSync (ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}
