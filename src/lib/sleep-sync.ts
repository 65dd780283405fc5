/** Blocks the thread for some milliseconds: only for synchronous code that cannot continue before. */
export function sleepSync (ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}
