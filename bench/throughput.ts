import { betterAuth, startBetterAuth, withSession } from './better-auth.js'
import { copySqlite, type SeededDatabase, startLatchkey } from './databases.js'
import { type Figures, type Load, medianFigures, measureLoad, warmUp, withTokens } from './load.js'
import { secretKey } from './fixtures.js'
import { startServer, type ServerProcess } from './processes.js'
import { progress } from './progress.js'
import type { Scale } from './scale.js'
import { over } from './statistics.js'

/** The throughput of one route of one server. */
export interface ThroughputCell extends Figures {
  server: string
  route: string
  connections: number
  /** How many different tokens the requests send, in turn. */
  tokens: number
  /** Requests per second divided by those of an empty Fastify route with the same response and as many connections. */
  ratio: number
  /** The CPU time per request divided by that of the same route; `undefined` where the system does not report it. */
  cpuRatio: number | undefined
}

interface Cell extends Load {
  name: string
  tokens: number
}

const connectionCounts = [64, 1]
/** How many different tokens there are, where it is not always the same one. */
const tokenCount = 5_000

/** The name of Fastify without authentication. */
export const bareFastify = 'Fastify'
/** The name of the baseline guard, built as the READMEs of its packages show. */
export const baseline = 'Fastify, @fastify/jwt, drizzle'
const http = 'node:http'
const express = 'Express, jsonwebtoken, better-sqlite3'

/** The name of Latchkey on a database. */
export const latchkeyOn = (database: string) => `Latchkey, ${database}`
/** The name of Latchkey with its default log level: one line per request. */
export const latchkeyLogging = `${latchkeyOn('SQLite')}, requests logged`

async function accountOf ({ url }: ServerProcess, token: string | undefined): Promise<string> {
  const response = await fetch(`${url}/api/v1/me`, { headers: { authorization: `Bearer ${token}` } })
  if (!response.ok) throw new Error(`GET /api/v1/me answers ${response.status}`)
  return await response.text()
}

/** Starts all servers. */
async function startAll (databases: SeededDatabase[], hasBetterAuth: boolean): Promise<{ cells: Cell[], stop: () => Promise<unknown> }> {
  const [sqlite] = databases
  if (sqlite === undefined) throw new Error('there is no database')
  const many = await sqlite.tokens(tokenCount)
  const copy = () => ({ DATABASE_FILE: copySqlite(sqlite), SECRET_KEY: secretKey })
  const [logging, httpServer, baselineServer, expressServer] = await Promise.all([
    startLatchkey(sqlite, { LOG_LEVEL: 'info' }),
    startServer('bench/servers/http-hello.js'),
    startServer('bench/servers/baseline.js', copy()),
    startServer('bench/servers/express.js', copy())
  ])
  const latchkeys = await Promise.all(databases.map(async (database) => ({ name: latchkeyOn(database.name), server: await startLatchkey(database), many: await database.tokens(tokenCount) })))
  const fastifyServer = await startServer('bench/servers/fastify-hello.js', { ACCOUNT: await accountOf(logging, many[0]) })

  const peer = hasBetterAuth ? await startBetterAuth(1) : undefined
  const session = peer === undefined ? [] : [await withSession(peer)]

  const cells = connectionCounts.flatMap((connections): Cell[] => {
    const open = (name: string, server: ServerProcess, path: string): Cell => ({ name, server, path, connections, tokens: 0, requests: [{}] })
    const guarded = (name: string, server: ServerProcess, path: string, tokens: string[]): Cell => ({ name, server, path, connections, tokens: tokens.length, requests: withTokens(tokens) })
    const one = many.slice(0, 1)
    return [
      open(http, httpServer, '/'),
      open(bareFastify, fastifyServer, '/'),
      open(bareFastify, fastifyServer, '/json'),
      guarded(express, expressServer, '/need_login', one),
      guarded(baseline, baselineServer, '/need_login', one),
      ...connections === 1 ? [] : [guarded(baseline, baselineServer, '/need_login', many)],
      ...peer === undefined || connections === 1 ? [] : [{ name: betterAuth, server: peer, path: '/need_login', connections, tokens: 1, requests: session }],
      ...latchkeys.flatMap(({ name, server, many }) => [
        open(name, server, '/'),
        ...['/need_login', '/api/v1/me'].flatMap((path) => [guarded(name, server, path, many.slice(0, 1)), guarded(name, server, path, many)])
      ]),
      ...connections === 1 ? [] : [guarded(latchkeyLogging, logging, '/need_login', one)]
    ]
  })
  const servers = [logging, httpServer, baselineServer, expressServer, fastifyServer, ...latchkeys.map(({ server }) => server), ...peer === undefined ? [] : [peer]]
  return { cells, stop: () => Promise.all(servers.map((server) => server.stop())) }
}

/**
 * Measures requests per second of node:http, Fastify, a baseline guard, Express and Latchkey.
 * Each round starts new processes: compilation and memory layout differ between processes, and
 * change the results by up to 10 %.
 *
 * @param hasBetterAuth whether better-auth is installed, and measured too
 */
export async function measureThroughput (databases: SeededDatabase[], hasBetterAuth: boolean, { rounds, windowSeconds, singleSeconds, warmUpSeconds }: Scale): Promise<ThroughputCell[]> {
  const results: Array<{ cell: Cell, measurements: Figures[] }> = []
  for (let round = 1; round <= rounds; round++) {
    const { cells, stop } = await startAll(databases, hasBetterAuth)
    for (const [i, cell] of cells.entries()) {
      progress(`round ${round} of ${rounds}: ${cell.name}: ${cell.path}, connections: ${cell.connections}, tokens: ${cell.tokens}`)
      await warmUp(cell, warmUpSeconds)
      const { measurements } = results[i] ??= { cell, measurements: [] }
      measurements.push(await measureLoad(cell, cell.connections === 1 ? singleSeconds : windowSeconds))
    }
    await stop()
  }

  const measured = results.map(({ cell: { name, path, connections, tokens }, measurements }) => ({ server: name, route: path, connections, tokens, ...medianFigures(measurements) }))
  return measured.map((cell) => {
    const route = ['/json', '/api/v1/me'].includes(cell.route) ? '/json' : '/'
    const bare = measured.find(({ server, route: bareRoute, connections }) => server === bareFastify && bareRoute === route && connections === cell.connections)
    return { ...cell, ratio: cell.requestsPerSecond / Number(bare?.requestsPerSecond), cpuRatio: over(cell.cpuMicroseconds, bare?.cpuMicroseconds) }
  })
}
