import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { get } from 'node:http'
import { join, resolve as resolvePath } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../test/free-port.js'
import { killAtExit, temporaryFolder } from './cleanup.js'

const root = join(import.meta.dirname, '..')
const pollMs = 2
const startDeadlineMs = 20_000
const stopDeadlineMs = 5_000

/** A running server. */
export interface ServerProcess {
  /** Without a slash at the end. */
  url: string
  pid: number
  /** From the spawn to the first response, in milliseconds. */
  startMs: number
  stop: () => Promise<void>
}

function answers (url: string): Promise<boolean> {
  return new Promise((resolve) => {
    get(url, { agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    }).on('error', () => resolve(false))
  })
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

async function stop (child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs)
  await ended
  clearTimeout(timer)
}

/**
 * Starts a server as a separate process, and waits until it answers `GET /`.
 *
 * @param script relative to the project, or absolute
 * @param env its whole environment, besides PATH, HOST and PORT
 * @throws {Error} the server does not start; the message has its output
 */
export async function startServer (script: string, env: Record<string, string> = {}): Promise<ServerProcess> {
  const folder = temporaryFolder()
  const outputFile = join(folder, 'output.log')
  const url = `http://127.0.0.1:${await freePort()}`
  const output = openSync(outputFile, 'a')
  const before = performance.now()
  const child = spawn(process.execPath, [resolvePath(root, script)], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOST: '127.0.0.1', PORT: new URL(url).port, ...env },
    stdio: ['ignore', output, output]
  })
  killAtExit(child)
  closeSync(output)
  while (!(await answers(url))) {
    if (hasEnded(child) || performance.now() - before > startDeadlineMs) throw new Error(`${script} does not start: ${readFileSync(outputFile, 'utf8')}`)
    await delay(pollMs)
  }
  return { url, pid: Number(child.pid), startMs: performance.now() - before, stop: () => stop(child) }
}

/**
 * Runs a program and returns its standard output.
 *
 * @param script relative to the project
 * @throws {Error} the program fails
 */
export async function runProgram (script: string, args: string[], env: Record<string, string> = {}): Promise<string> {
  const execArgv = script.endsWith('.ts') ? ['--import', import.meta.resolve('tsx')] : []
  const child = spawn(process.execPath, [...execArgv, join(root, script), ...args], {
    cwd: temporaryFolder(),
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  killAtExit(child)
  let printed = ''
  child.stdout.setEncoding('utf8').on('data', (text) => { printed += text })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${script} ended with ${code}: ${printed}`)
  return printed
}

/** The CPU time of a process in microseconds; `undefined` where the system does not report it. */
export function cpuMicroseconds (pid: number): number | undefined {
  try {
    // The first number of each thread is its CPU time in nanoseconds: much finer than the ticks
    // of 10 ms in /proc/<pid>/stat. https://docs.kernel.org/scheduler/sched-stats.html
    return readdirSync(`/proc/${pid}/task`)
      .map((thread) => Number.parseInt(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8')) / 1_000)
      .reduce((sum, microseconds) => sum + microseconds, 0)
  } catch {
    // Only Linux has /proc.
    return undefined
  }
}

/** The resident set size of a process, in MiB; `undefined` where the system does not report it. */
export function residentMebibytes (pid: number): number | undefined {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024
  } catch {
    return undefined
  }
}
