import { availableParallelism } from 'node:os'
import { type SeededDatabase, startLatchkey, unlimitedLogins } from './databases.js'
import { type Figures, medianFigures, measureLoad } from './load.js'
import { logins, password, passwordHash } from './fixtures.js'
import { progress } from './progress.js'
import { runProgram, type ServerProcess, startServer } from './processes.js'
import type { Scale } from './scale.js'
import { inRounds } from './statistics.js'

/** How many passwords Latchkey hashes in parallel by default. */
const hashConcurrency = Math.min(availableParallelism(), 3)

/** Enough connections to keep the hash queue filled, and few enough that no login is rejected. */
export const loginConnections = Math.max(8, 4 * hashConcurrency)

/** How many users log in, in turn. */
export const loginUsers = 50

/** Logins on one database, or the hash alone. */
export interface LoginFigures extends Figures {
  name: string
  /** Logins per second divided by hashes per second without a server; undefined for the latter. */
  ratio: number | undefined
}

/** The name of the hash in a loop, without a server. */
export const hashAlone = 'argon2id verify, in a loop'
/** The name of the hash behind HTTP, without database, token and limits. */
export const hashServed = 'Fastify that only verifies argon2id'

const hashSettings = { HASH: passwordHash, CONCURRENCY: String(hashConcurrency) }

async function runHashLoop (seconds: number): Promise<Figures> {
  return { requestsPerSecond: Number(await runProgram('bench/servers/argon2-loop.js', [], { ...hashSettings, PASSWORD: password, SECONDS: String(seconds) })), p99Ms: NaN, cpuMicroseconds: undefined }
}

/** Measures logins per second, and compares them with password hashes per second. */
export async function measureLogins (databases: SeededDatabase[], { rounds, loginSeconds, warmUpSeconds }: Scale): Promise<LoginFigures[]> {
  const userIds = Array.from({ length: loginUsers }, (_, i) => i + 1)
  const cells: Array<{ name: string, server?: ServerProcess }> = [{ name: hashAlone }, { name: hashServed, server: await startServer('bench/servers/fastify-login.js', hashSettings) }]
  for (const database of databases) cells.push({ name: database.name, server: await startLatchkey(database, unlimitedLogins) })

  const results = await inRounds(cells, rounds, async ({ name, server }, round) => {
    progress(`round ${round + 1} of ${rounds}: logins, ${name}`)
    if (server === undefined) return await runHashLoop(loginSeconds)
    const load = { server, path: '/api/v1/login', connections: loginConnections, requests: logins(userIds) }
    if (round === 0 && warmUpSeconds > 0) await measureLoad(load, warmUpSeconds)
    return await measureLoad(load, loginSeconds)
  })
  for (const { server } of cells) await server?.stop()

  const measured = results.map(({ cell: { name }, measurements }) => ({ name, ...medianFigures(measurements) }))
  const alone = Number(measured[0]?.requestsPerSecond)
  return measured.map((cell) => ({ ...cell, ratio: cell.name === hashAlone ? undefined : cell.requestsPerSecond / alone }))
}
