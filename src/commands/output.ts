import { errorCode } from '../lib/error-code.js'
import { describeError } from '../lib/system-error.js'
import type { Terminal } from './terminal.js'

/** Output cannot be written; `message` is one line for the user. */
export class OutputError extends Error {
  override name = 'OutputError'
  /** The program that read the output has ended, such as `head`. */
  readonly isReaderGone: boolean

  constructor (cause: unknown, target = 'standard output') {
    super(`cannot write to ${target}: ${describeError(cause)}`, { cause })
    this.isReaderGone = ['EPIPE', 'ECONNRESET', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_PREMATURE_CLOSE'].includes(String(errorCode(cause)))
  }
}

/**
 * Writes text to standard output, and waits until the reader has taken it.
 *
 * @throws {OutputError} it cannot be written
 */
export async function print ({ stdout }: Pick<Terminal, 'stdout'>, text: string): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      stdout.write(text, (error) => {
        if (error) reject(error)
        else resolve()
      })
    })
  } catch (error) {
    throw new OutputError(error)
  }
}

/** Prints a line on standard output. */
export async function printLine (terminal: Terminal, line: string): Promise<void> {
  await print(terminal, `${line}\n`)
}

/** Prints a result: as text, or as JSON with `--json`. */
export async function printResult (terminal: Terminal, { json = false }: { json?: boolean }, result: unknown, line: string): Promise<void> {
  await printLine(terminal, json ? JSON.stringify(result) : line)
}

/** A number and its noun: `1 user`, `2 users`. */
export function countOf (count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
