import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { run } from '../src/commands/index.js'
import { secretKey, temporaryFolder } from './helper.js'

/** For a terminal on which no server is started. */
export const notServed = async () => { throw new Error('no server is started here') }

/** What a command did. */
export interface Answer { code: number, out: string, err: string }

/** The command line in a folder of its own. */
export function commandLine (t: Test, env: Record<string, string> = {}) {
  const folder = temporaryFolder(t)
  const file = join(folder, 'latchkey.sqlite')
  const settings: Record<string, string> = { DATABASE_URL: `sqlite:///${file}`, SECRET_KEY: secretKey, ...env }

  const latchkey = async (args: string[], input: string | Buffer | Readable = '', isTTY = false, beforeAnswer = async () => {}): Promise<Answer> => {
    const [typed, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
    const stdin = input instanceof Readable ? input : typed
    const answers = String(input).split('\n').slice(0, -1)
    if (isTTY) {
      // A person types the next line when the next question is there.
      stderr.on('data', (prompt) => { if (/: $/.test(String(prompt))) setTimeout(() => beforeAnswer().then(() => typed.write(`${answers.shift()}\r`)), 20) })
    } else if (!(input instanceof Readable)) {
      typed.end(input)
    }
    let err = ''
    stderr.on('data', (chunk) => { err += chunk })
    const out = text(stdout)
    const code = await run(args, { env: settings, dotEnvPath: join(folder, '.env'), serve: notServed, stdin: Object.assign(stdin, { isTTY }), stdout, stderr })
    stdout.end()
    return { code, out: await out, err }
  }
  return { folder, file, settings, latchkey }
}

/** One clear line on standard error, nothing on standard output, exit code 1. */
export function refused (t: Test, { code, out, err }: Answer, line: RegExp | string): void {
  t.equal(code, 1)
  t.equal(out, '')
  t.match(err, line)
  t.equal(err.trimEnd().split('\n').length, 1, err)
  t.match(err, /^latchkey: /)
}
