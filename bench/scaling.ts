import { dirname } from 'node:path'
import { databaseFileOf, type SeededDatabase, seedSqlite, startLatchkey, unlimitedLogins } from './databases.js'
import { removeFolder } from './cleanup.js'
import { type Figures, type Load, medianFigures, measureLoad, warmUp, withTokens } from './load.js'
import { loginConnections } from './logins.js'
import { logins } from './fixtures.js'
import type { ServerProcess } from './processes.js'
import { progress } from './progress.js'
import type { Scale } from './scale.js'
import { inRounds } from './statistics.js'

/** How many users send requests, spread evenly over all users. */
const activeUsers = 1_000

/** The figures of a database with so many users. */
export interface ScalingFigures {
  users: number
  guarded: Figures
  logins: Figures
  /** Requests per second divided by those of the smallest database. */
  guardedRatio: number
  loginRatio: number
}

/** Measures whether the number of users slows Latchkey down on SQLite. */
export async function measureScaling ({ scaling, rounds, windowSeconds, loginSeconds, warmUpSeconds }: Scale): Promise<ScalingFigures[]> {
  const databases: SeededDatabase[] = []
  const servers: ServerProcess[] = []
  const guarded: Load[] = []
  const logging: Load[] = []
  for (const users of scaling) {
    progress(`scaling: creating ${users} users`)
    const database = await seedSqlite(users)
    const server = await startLatchkey(database, unlimitedLogins)
    databases.push(database)
    servers.push(server)
    const count = Math.min(users, activeUsers)
    guarded.push({ server, path: '/need_login', connections: 64, requests: withTokens(await database.tokens(count)) })
    const ids = Array.from({ length: count }, (_, i) => 1 + i * Math.floor(users / count))
    logging.push({ server, path: '/api/v1/login', connections: loginConnections, requests: logins(ids) })
  }

  const measure = async (loads: Load[], seconds: number, what: string): Promise<Figures[]> => {
    const results = await inRounds(loads, rounds, async (load, round) => {
      progress(`round ${round + 1} of ${rounds}: scaling, ${what}, ${scaling[loads.indexOf(load)]} users`)
      if (round === 0) await warmUp(load, warmUpSeconds)
      return await measureLoad(load, seconds)
    })
    return results.map(({ measurements }) => medianFigures(measurements))
  }
  const guardedFigures = await measure(guarded, windowSeconds, 'token checks')
  const loginFigures = await measure(logging, loginSeconds, 'logins')
  for (const server of servers) await server.stop()
  for (const { url } of databases) removeFolder(dirname(databaseFileOf(url)))

  return scaling.flatMap((users, i) => {
    const [guarded, logins, fewGuarded, fewLogins] = [guardedFigures[i], loginFigures[i], guardedFigures[0], loginFigures[0]]
    if (guarded === undefined || logins === undefined || fewGuarded === undefined || fewLogins === undefined) return []
    return [{
      users,
      guarded,
      logins,
      guardedRatio: guarded.requestsPerSecond / fewGuarded.requestsPerSecond,
      loginRatio: logins.requestsPerSecond / fewLogins.requestsPerSecond
    }]
  })
}
