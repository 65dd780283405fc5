import type { Readable, Writable } from 'node:stream'
import { InvalidArgumentError } from 'commander'
import { read } from 'read'
import { describeError } from '../lib/system-error.js'
import { passwordMaxLength } from '../plugins/passwords/policy.js'

/** The environment and the streams of a command. */
export interface Terminal {
  env: Record<string, string | undefined>
  /** The path of the `.env` file; the one in the working directory by default. */
  dotEnvPath?: string
  /** Starts the server, which reads the environment and handles signals itself. */
  serve: () => Promise<unknown>
  stdin: Readable & { isTTY?: boolean }
  stdout: Writable & { columns?: number }
  stderr: Writable
}

/** The command failed; `message` is one line for the user. */
export class CommandError extends Error {
  override name = 'CommandError'
}

/** Creates a parser for an option whose value is an integer from `min` to `max`. */
export function integerUpTo (max: number, min = 1): (text: string) => number {
  return (text) => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : -1
    if (value < min || value > max) throw new InvalidArgumentError(`It must be an integer from ${min} to ${max}.`)
    return value
  }
}

/**
 * Rejects an invalid argument.
 *
 * @param problem the end of a sentence that starts with `the ${name}`; undefined when the argument is valid
 * @throws {CommandError} the argument is invalid
 */
export function rejectInvalid (name: string, problem: string | undefined): void {
  if (problem !== undefined) throw new CommandError(`the ${name} ${problem}`)
}

/** Far more than the longest password: what is longer is not read. */
const passwordMaxBytes = 65_536

/** Reads a password from standard input: UTF-8, with or without a byte order mark and an end of line. */
async function readPassword (stdin: Readable): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const chunk of stdin) {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > passwordMaxBytes) break
    }
  } catch (error) {
    throw new CommandError(`cannot read standard input: ${describeError(error)}`)
  }
  if (bytes > passwordMaxBytes) throw new CommandError(`the password must not be longer than ${passwordMaxLength} characters`)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)).replace(/\r?\n$/, '')
  } catch {
    throw new CommandError('the password on standard input is not UTF-8')
  }
}

/**
 * Reads a new password: from standard input with `--password-stdin`, else twice from a prompt
 * without echo. Never from an argument, which every process on the machine can read.
 *
 * @param problemOf what is wrong with it, as the end of a sentence that starts with `the password`
 * @throws {CommandError} the password is invalid, standard input is not a terminal, or the two passwords differ
 */
export async function readNewPassword (terminal: Terminal, { passwordStdin = false }: { passwordStdin?: boolean }, problemOf: (password: string) => string | undefined): Promise<string> {
  const password = passwordStdin ? await readPassword(terminal.stdin) : await prompt(terminal, 'New password: ', true)
  // Before it is typed again.
  rejectInvalid('password', password.includes('\ufffd') ? 'is not UTF-8' : problemOf(password))
  if (!passwordStdin && password !== await prompt(terminal, 'Repeat the password: ', true)) throw new CommandError('the two passwords differ')
  return password
}

/**
 * Asks the user for a confirmation.
 *
 * @param question what happens, as a question
 * @param nothing what is said when the answer is not `yes`
 * @throws {CommandError} the answer is not `yes`, or standard input is not a terminal
 */
export async function confirm (terminal: Terminal, question: string, nothing: string): Promise<void> {
  if (await prompt(terminal, `${question} Type yes: `) !== 'yes') throw new CommandError(nothing)
}

/**
 * Asks the user a question.
 *
 * @param silent does not echo the answer
 * @throws {CommandError} standard input is not a terminal, or the user cancelled
 */
async function prompt ({ stdin, stderr }: Terminal, question: string, silent = false): Promise<string> {
  if (stdin.isTTY !== true) {
    throw new CommandError(`standard input is not a terminal: use ${silent ? '--password-stdin' : '--yes'}`)
  }
  // At the end of the input (Ctrl-D) the library closes without an answer, and says nothing.
  const closed = new Promise<never>((resolve, reject) => { stdin.once('pause', () => setImmediate(reject)) })
  const answer = await Promise.race([read({ prompt: question, silent, input: stdin, output: stderr, terminal: true }), closed]).catch(() => {
    stderr.write('\n')
    throw new CommandError('cancelled')
  })
  if (silent) stderr.write('\n')
  return answer
}
