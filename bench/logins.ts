import { availableParallelism } from 'node:os'
import { type SeededDatabase, startLatchkey, unlimitedLogins } from './databases.js'
import { type Figures, medianFigures, runWindow } from './load.js'
import { logins, password, passwordHash } from './fixtures.js'
import { progress } from './progress.js'
import { runProgram, type ServerProcess, startServer } from './processes.js'
import type { Scale } from './scale.js'
import { inRounds } from './statistics.js'

/** How many hashes Latchkey has under way at once, where nothing else is set. */
const hashConcurrency = Math.min(availableParallelism(), 3)

/** Enough connections that some always wait for their hash while others are on their way; few enough that none is refused. */
export const loginConnections = Math.max(8, 4 * hashConcurrency)

/** How many people log in, one after the other. */
export const accounts = 50

/** Logins on a database, beside the hash alone; without a ratio it is the hash alone. */
export interface LoginFigures extends Figures {
  name: string
  /** Logins per second over hashes per second without a server. */
  ratio: number | undefined
}

/** What is called so is the bare hash. */
export const hashAlone = 'argon2id verify, in a loop'
/** And this the hash behind HTTP, with nothing else around it. */
export const hashServed = 'bare Fastify that verifies argon2id'

const hashSettings = { HASH: passwordHash, CONCURRENCY: String(hashConcurrency) }

async function runHashLoop (seconds: number): Promise<Figures> {
  return { requestsPerSecond: Number(await runProgram('bench/servers/argon2-loop.js', [], { ...hashSettings, PASSWORD: password, SECONDS: String(seconds) })), p99Ms: NaN, cpuMicroseconds: undefined }
}

/** Measures how many people can log in in a second, beside how many passwords can be verified. */
export async function measureLogins (databases: SeededDatabase[], { rounds, loginSeconds, warmUpSeconds }: Scale): Promise<LoginFigures[]> {
  const people = Array.from({ length: accounts }, (_, i) => i + 1)
  const cells: Array<{ name: string, server?: ServerProcess }> = [{ name: hashAlone }, { name: hashServed, server: await startServer('bench/servers/fastify-login.js', hashSettings) }]
  for (const database of databases) cells.push({ name: database.name, server: await startLatchkey(database, unlimitedLogins) })

  const results = await inRounds(cells, rounds, async ({ name, server }, round) => {
    progress(`round ${round + 1} of ${rounds}: logins, ${name}`)
    if (server === undefined) return await runHashLoop(loginSeconds)
    const load = { server, path: '/api/v1/login', connections: loginConnections, requests: logins(people) }
    if (round === 0 && warmUpSeconds > 0) await runWindow(load, warmUpSeconds)
    return await runWindow(load, loginSeconds)
  })
  for (const { server } of cells) await server?.stop()

  const measured = results.map(({ cell: { name }, measurements }) => ({ name, ...medianFigures(measurements) }))
  const alone = Number(measured[0]?.requestsPerSecond)
  return measured.map((cell) => ({ ...cell, ratio: cell.name === hashAlone ? undefined : cell.requestsPerSecond / alone }))
}
