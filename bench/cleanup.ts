import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// Whatever a run starts or writes is written down here, so that nothing outlives it.

const children = new Set<ChildProcess>()
const folders = new Set<string>()
const stops: Array<() => Promise<void>> = []

/** Has a process end with this one, at the latest. */
export function endWithUs (child: ChildProcess): void {
  children.add(child)
  child.on('exit', () => children.delete(child))
}

/** Has something that takes its time stop before this process ends. */
export function stopBeforeEnd (stop: () => Promise<void>): void {
  stops.push(stop)
}

/** A new folder, removed when this process ends. */
export function temporaryFolder (): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
  folders.add(folder)
  return folder
}

/** Removes a folder before the end: what is in it is large. */
export function removeFolder (folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  folders.delete(folder)
}

let ending: Promise<never> | undefined

/** Whether this process is about to end: what fails now does so because its other half is gone. */
export const isEnding = () => ending !== undefined

/** Stops what was started, and ends this process; with the first exit code that it is told. */
export function end (exitCode: number): Promise<never> {
  ending ??= (async () => {
    for (const stop of stops.splice(0)) await stop().catch(() => {})
    process.exit(exitCode)
  })()
  return ending
}

// Here nothing can be awaited any more: what is left is ended hard.
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  for (const folder of folders) removeFolder(folder)
})

for (const [signal, number] of [['SIGHUP', 1], ['SIGINT', 2], ['SIGTERM', 15]] as const) {
  process.on(signal, () => end(128 + number))
}
