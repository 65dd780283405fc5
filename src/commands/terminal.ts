import type { Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { InvalidArgumentError } from 'commander'
import { read } from 'read'

/** Where a command runs: what it is told and where it speaks. */
export interface Terminal {
  env: Record<string, string | undefined>
  /** Where `.env` is; the working directory's by default. */
  dotEnvPath?: string
  stdin: Readable & { isTTY?: boolean }
  stdout: Writable
  stderr: Writable
}

/** A command that could not do what it was asked; `message` is one line. */
export class CommandError extends Error {
  override name = 'CommandError'
}

/** Makes a parser of options that are integers from 1 on. */
export function integerUpTo (max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : 0
    if (value < 1 || value > max) throw new InvalidArgumentError(`It must be an integer from 1 to ${max}.`)
    return value
  }
}

/** @throws {CommandError} there is a problem with what was given */
export function refuse (what: string, problem: string | undefined): void {
  if (problem !== undefined) throw new CommandError(`the ${what} ${problem}`)
}

/** Prints a line. */
export function say ({ stdout }: Terminal, line: string): void {
  stdout.write(`${line}\n`)
}

/** Prints a line for people, or a record for programs. */
export function print (terminal: Terminal, { json = false }: { json?: boolean }, record: unknown, line: string): void {
  say(terminal, json ? JSON.stringify(record) : line)
}

/** Rows under their names, in columns. */
export function table (rows: Array<Record<string, unknown>>): string {
  const [first = {}] = rows
  const names = Object.keys(first)
  const lines = [names, ...rows.map((row) => names.map((name) => String(row[name] ?? '')))]
  const width = (column: number) => Math.max(...lines.map((line) => String(line[column]).length))
  return lines.map((line) => line.map((cell, column) => cell.padEnd(width(column))).join('  ').trimEnd()).join('\n')
}

/**
 * A new password: from standard input when asked so, else from a prompt that shows nothing,
 * twice. Never from an argument, where every process of the machine could read it.
 *
 * @throws {CommandError} there is nobody to ask, or the two differ
 */
export async function newPassword (terminal: Terminal, { passwordStdin = false }: { passwordStdin?: boolean }): Promise<string> {
  if (passwordStdin) return (await text(terminal.stdin)).replace(/\r?\n$/, '')
  const password = await ask(terminal, 'New password: ', true)
  if (password !== await ask(terminal, 'Once more: ', true)) throw new CommandError('the two passwords differ')
  return password
}

/**
 * Asks a person.
 *
 * @param silent shows nothing of the answer
 * @throws {CommandError} standard input is no terminal, or the answer was cut off
 */
export async function ask ({ stdin, stderr }: Terminal, prompt: string, silent = false): Promise<string> {
  if (stdin.isTTY !== true) {
    throw new CommandError(silent ? 'there is no terminal to ask for the password: use --password-stdin' : 'there is no terminal to ask: use --yes')
  }
  const answer = await read({ prompt, silent, input: stdin, output: stderr, terminal: true }).catch(() => {
    stderr.write('\n')
    throw new CommandError('cancelled')
  })
  if (silent) stderr.write('\n')
  return answer
}
