import { closeSync, fsyncSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { errorCode } from './error-code.js'
import { effectiveUser, openNewFile } from './new-file.js'

// A file that must be complete under its name is written under another one first, which has the
// id of the process: `<target>.<pid>.part`. What a killed process has left is removed by the next
// one that writes the same target.

/** What follows the name of the target in the name of a part file, and of the files that SQLite puts next to it. */
const partSuffix = /^\.(\d{1,10})\.part(?:-wal|-shm|-journal)?$/

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Whether another process has this id. */
function isRunning (pid: number): boolean {
  if (pid === process.pid) return false
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // Of another user.
    return errorCode(error) === 'EPERM'
  }
}

/** Removes the part files of a target that no running process writes. */
function removeParts (target: string): void {
  const [folder, name] = [dirname(target), basename(target)]
  for (const file of readdirSync(folder)) {
    const [, pid] = (file.startsWith(name) && partSuffix.exec(file.slice(name.length))) || []
    if (pid !== undefined && !isRunning(Number(pid))) rmSync(join(folder, file), { force: true })
  }
}

/** Makes what was written to a file, or to a folder's list of names, survive a power cut. */
function sync (path: string, flags: 'r' | 'r+'): void {
  const fd = openSync(path, flags)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Gives a complete part file the name of its target, durably. */
export function publish (part: string, target: string): void {
  sync(part, 'r+')
  renameSync(part, target)
  // Windows opens no folders.
  if (effectiveUser() !== undefined) sync(dirname(target), 'r')
}

/**
 * Lets signals be handled that came while the event loop was blocked. They are read between two
 * turns of it.
 */
export async function handleSignals (): Promise<void> {
  await nextTurn()
  await nextTurn()
}

/**
 * Creates an empty part file (0600) next to a target, and removes it in the end, unless it was
 * published. A signal that ends the process removes it too.
 *
 * @param work fills the file and publishes it
 * @throws {Error} the file cannot be created, or what `work` throws
 */
export async function withPartFile<Result> (target: string, work: (part: string) => Promise<Result>): Promise<Result> {
  removeParts(target)
  const part = `${target}.${process.pid}.part`
  closeSync(openNewFile(part))
  const onSignal = (signal: NodeJS.Signals) => {
    removeParts(target)
    ignoreSignals()
    // As it would have ended without the listener.
    process.kill(process.pid, signal)
  }
  const ignoreSignals = () => { for (const signal of signals) process.off(signal, onSignal) }
  for (const signal of signals) process.on(signal, onSignal)
  try {
    return await work(part)
  } finally {
    ignoreSignals()
    removeParts(target)
  }
}
