import { availableParallelism } from 'node:os'
import { betterAuthLogin, signInPath, signIns, startBetterAuth } from './better-auth.js'
import { type SeededDatabase, startLatchkey, unlimitedLogins } from './databases.js'
import { type Figures, type Load, medianFigures, measureLoad, warmUp } from './load.js'
import { logins, password, passwordHash } from './fixtures.js'
import { progress } from './progress.js'
import { runProgram, startServer } from './processes.js'
import type { Scale } from './scale.js'
import { inRounds, over } from './statistics.js'

/** How many passwords Latchkey hashes in parallel by default. */
const hashConcurrency = Math.min(availableParallelism(), 3)

/** Enough connections to keep the hash queue filled, and few enough that no login is rejected. */
export const loginConnections = Math.max(8, 4 * hashConcurrency)

/** How many users log in, in turn. */
export const loginUsers = 50

/** How many users of better-auth log in: it hashes the password of each when it starts. */
const betterAuthUsers = 10

/** Logins of one server, or the hash alone. */
export interface LoginFigures extends Figures {
  name: string
  /** The name of Latchkey's database; undefined for other servers. */
  database: string | undefined
  /** Logins per second divided by those of bare Fastify that verifies the same hash; undefined with another hash. */
  ratio: number | undefined
  /** Logins per second divided by hashes per second without a server; undefined with another hash. */
  hashRatio: number | undefined
}

/** The name of the hash in a loop, without a server. */
export const hashAlone = 'argon2id verify, in a loop'
/** The name of the hash behind HTTP, without database, token and limits. */
export const hashServed = 'Fastify that only verifies argon2id'
/** The name of Latchkey's logins on a database. */
const latchkeyLogin = (database: string) => `Latchkey, ${database}: POST /api/v1/login`

const hashSettings = { HASH: passwordHash, CONCURRENCY: String(hashConcurrency) }

async function runHashLoop (seconds: number): Promise<Figures> {
  return { requestsPerSecond: Number(await runProgram('bench/servers/argon2-loop.js', [], { ...hashSettings, PASSWORD: password, SECONDS: String(seconds) })), p99Ms: NaN, cpuMicroseconds: undefined }
}

/** What is measured: the load of a server, or the hash alone. */
interface Cell {
  name: string
  database?: string
  load?: Load
}

/**
 * Measures logins per second, and compares them with password hashes per second.
 *
 * @param hasBetterAuth whether better-auth is installed, and measured too
 */
export async function measureLogins (databases: SeededDatabase[], hasBetterAuth: boolean, { rounds, loginSeconds, warmUpSeconds }: Scale): Promise<LoginFigures[]> {
  const requests = logins(Array.from({ length: loginUsers }, (_, i) => i + 1))
  const common = { path: '/api/v1/login', connections: loginConnections, requests }
  const cells: Cell[] = [{ name: hashAlone }, { name: hashServed, load: { ...common, server: await startServer('bench/servers/fastify-login.js', hashSettings) } }]
  for (const database of databases) cells.push({ name: latchkeyLogin(database.name), database: database.name, load: { ...common, server: await startLatchkey(database, unlimitedLogins) } })
  if (hasBetterAuth) {
    const server = await startBetterAuth(betterAuthUsers)
    cells.push({ name: betterAuthLogin, load: { ...common, server, path: signInPath, requests: signIns(server, betterAuthUsers) } })
  }

  const results = await inRounds(cells, rounds, async ({ name, load }, round) => {
    progress(`round ${round + 1} of ${rounds}: logins, ${name}`)
    if (load === undefined) return await runHashLoop(loginSeconds)
    if (round === 0) await warmUp(load, warmUpSeconds)
    return await measureLoad(load, loginSeconds)
  })
  for (const { load } of cells) await load?.server.stop()

  const measured = results.map(({ cell: { name, database }, measurements }) => ({ name, database, ...medianFigures(measurements) }))
  const perSecond = (cell: string) => measured.find(({ name }) => name === cell)?.requestsPerSecond
  return measured.map((cell) => {
    const isComparable = cell.name !== betterAuthLogin
    return {
      ...cell,
      ratio: isComparable ? over(cell.requestsPerSecond, perSecond(hashServed)) : undefined,
      hashRatio: isComparable ? over(cell.requestsPerSecond, perSecond(hashAlone)) : undefined
    }
  })
}
