import type { Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { InvalidArgumentError } from 'commander'
import { read } from 'read'

/** The environment and the streams of a command. */
export interface Terminal {
  env: Record<string, string | undefined>
  /** The path of the `.env` file; the one in the working directory by default. */
  dotEnvPath?: string
  stdin: Readable & { isTTY?: boolean }
  stdout: Writable
  stderr: Writable
}

/** The command failed; `message` is one line for the user. */
export class CommandError extends Error {
  override name = 'CommandError'
}

/** Creates a parser for an option whose value is an integer from 1 to `max`. */
export function integerUpTo (max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : 0
    if (value < 1 || value > max) throw new InvalidArgumentError(`It must be an integer from 1 to ${max}.`)
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

/** Prints a line on standard output. */
export function printLine ({ stdout }: Terminal, line: string): void {
  stdout.write(`${line}\n`)
}

/** Prints a result: as text, or as JSON with `--json`. */
export function printResult (terminal: Terminal, { json = false }: { json?: boolean }, result: unknown, line: string): void {
  printLine(terminal, json ? JSON.stringify(result) : line)
}

/** Formats rows as a table with the member names as its header. */
export function formatTable (rows: Array<Record<string, unknown>>): string {
  const [first = {}] = rows
  const names = Object.keys(first)
  const lines = [names, ...rows.map((row) => names.map((name) => String(row[name] ?? '')))]
  const width = (column: number) => Math.max(...lines.map((line) => String(line[column]).length))
  return lines.map((line) => line.map((cell, column) => cell.padEnd(width(column))).join('  ').trimEnd()).join('\n')
}

/**
 * Reads a new password: from standard input with `--password-stdin`, else twice from a prompt
 * without echo. Never from an argument, which every process on the machine can read.
 *
 * @throws {CommandError} standard input is not a terminal, or the two passwords differ
 */
export async function readNewPassword (terminal: Terminal, { passwordStdin = false }: { passwordStdin?: boolean }): Promise<string> {
  if (passwordStdin) return (await text(terminal.stdin)).replace(/\r?\n$/, '')
  const password = await prompt(terminal, 'New password: ', true)
  if (password !== await prompt(terminal, 'Repeat the password: ', true)) throw new CommandError('the two passwords differ')
  return password
}

/**
 * Asks the user a question.
 *
 * @param silent does not echo the answer
 * @throws {CommandError} standard input is not a terminal, or the user cancelled
 */
export async function prompt ({ stdin, stderr }: Terminal, question: string, silent = false): Promise<string> {
  if (stdin.isTTY !== true) {
    throw new CommandError(`standard input is not a terminal: use ${silent ? '--password-stdin' : '--yes'}`)
  }
  const answer = await read({ prompt: question, silent, input: stdin, output: stderr, terminal: true }).catch(() => {
    stderr.write('\n')
    throw new CommandError('cancelled')
  })
  if (silent) stderr.write('\n')
  return answer
}
