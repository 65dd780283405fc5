import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Request } from 'autocannon'
import { killAtExit, removeFolder, temporaryFolder } from './cleanup.js'
import type { Load, Measured } from './load.js'

const script = join(import.meta.dirname, 'wrk.lua')

/** Whether wrk is installed. https://github.com/wg/wrk */
export const hasWrk = spawnSync('wrk', ['--version']).error === undefined

/** A busy server needs one processor; wrk has enough with one or two others. */
const threadsMax = Math.min(Math.max(1, availableParallelism() - 1), 2)

/** What `wrk.lua` prints. */
interface Summary {
  answers: number
  microseconds: number
  p99: number
  errors: Record<string, number>
}

/** The bytes of a request. */
function rawRequest (url: URL, { method = 'GET', headers = {}, body = '' }: Request): string {
  const lines = Object.entries({ host: url.host, ...headers, ...body === '' ? {} : { 'content-length': String(Buffer.byteLength(String(body))) } })
  return `${method} ${url.pathname} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`
}

async function output (child: ChildProcess): Promise<string> {
  let printed = ''
  child.stdout?.setEncoding('utf8').on('data', (text) => { printed += text })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`wrk ended with ${code}: ${printed}`)
  return printed
}

/**
 * Puts a load on a server with wrk, a generator in C: it leaves more of the machine to the server
 * than one in JavaScript. Requests are sent in turn by all connections together. wrk adds to the
 * p99 the requests that a slow answer kept it from sending, and opens a connection again, without
 * an error, when the server closes it.
 *
 * @param seconds a whole number: wrk ends by itself
 * @throws {Error} a response had a status of 400 or more, or did not arrive
 */
export async function runWrk ({ server, path, connections, requests }: Load, seconds: number): Promise<Measured> {
  const folder = temporaryFolder()
  const file = join(folder, 'requests')
  const url = new URL(server.url + path)
  writeFileSync(file, requests.map((request) => rawRequest(url, request)).join('\0'))
  const threads = Math.min(connections, threadsMax)
  const child = spawn('wrk', [
    '--threads', String(threads), '--connections', String(connections), '--duration', `${seconds}s`, '--timeout', '10s',
    '--script', script, url.href, '--', file, String(threads)
  ], { stdio: ['ignore', 'pipe', 'inherit'] })
  killAtExit(child)
  // wrk prints its own report first.
  const printed = (await output(child)).trimEnd().split('\n').at(-1) ?? ''
  removeFolder(folder)
  const { answers, microseconds, p99, errors }: Summary = JSON.parse(printed)
  if (Object.values(errors).some((count) => count > 0)) throw new Error(`${path}: ${answers} answers, errors: ${JSON.stringify(errors)}`)
  return { answers, requestsPerSecond: answers / microseconds * 1_000_000, p99Ms: p99 / 1_000 }
}
