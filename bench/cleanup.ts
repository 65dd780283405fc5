import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// Keeps a list of the processes and folders of a run, and removes all of them at its end.

const children = new Set<ChildProcess>()
const folders = new Set<string>()
const stops: Array<() => Promise<void>> = []

/** Kills a child process when this process exits. */
export function killAtExit (child: ChildProcess): void {
  children.add(child)
  child.on('exit', () => children.delete(child))
}

/** Awaits an asynchronous stop before this process exits. */
export function stopAtExit (stop: () => Promise<void>): void {
  stops.push(stop)
}

/** Creates a folder; it is removed when this process exits. */
export function temporaryFolder (): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
  folders.add(folder)
  return folder
}

/** Removes a large folder before the process exits. */
export function removeFolder (folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  folders.delete(folder)
}

let exiting: Promise<never> | undefined

/** Whether this process is about to exit: errors are then a consequence of the cleanup. */
export const isExiting = () => exiting !== undefined

/** Stops everything and exits, with the exit code of the first call. */
export function exitAfterCleanup (exitCode: number): Promise<never> {
  exiting ??= (async () => {
    for (const stop of stops.splice(0)) await stop().catch(() => {})
    process.exit(exitCode)
  })()
  return exiting
}

// An exit handler cannot await anything: the remaining processes are killed.
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  for (const folder of folders) removeFolder(folder)
})

for (const [signal, number] of [['SIGHUP', 1], ['SIGINT', 2], ['SIGTERM', 15]] as const) {
  process.on(signal, () => exitAfterCleanup(128 + number))
}
