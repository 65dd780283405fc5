import { setTimeout as delay } from 'node:timers/promises'
import { type SeededDatabase, startLatchkey } from './databases.js'
import { type Load, runWindow, withTokens } from './load.js'
import { accounts, type LoginFigures } from './logins.js'
import { logins } from './fixtures.js'
import { runProgram } from './processes.js'
import { progress } from './progress.js'
import type { Scale } from './scale.js'

/** How many token checks are asked for in a second, over how many connections. */
export const checksPerSecond = 1_000
const connections = 8
/** How many more logins come than can be done. */
const overload = 3
/** How long the process that makes the overload takes to start, at most. */
const overloadStartMs = 1_000

/** How those who log in fare. */
export interface StormCounts {
  /** 200 */
  accepted: number
  /** 503 */
  refused: number
  /** Anything else. */
  others: number
  slowestAcceptedMs: number
}

/** Token checks without and with a login overload beside them. */
export interface OverloadFigures extends StormCounts {
  database: string
  /** p99 with the overload over p99 without it. */
  ratio: number
  calmP99Ms: number
  overloadP99Ms: number
  /** How many token checks were answered in a second of the overload. */
  requestsPerSecond: number
  loginsOfferedPerSecond: number
}

/** Measures how token checks fare while three times more people log in than can. */
export async function measureOverload (databases: SeededDatabase[], capacities: LoginFigures[], { calmSeconds, overloadSeconds, settleSeconds }: Scale): Promise<OverloadFigures[]> {
  const figures: OverloadFigures[] = []
  for (const database of databases) {
    const capacity = Number(capacities.find(({ name }) => name === database.name)?.requestsPerSecond)
    // The limits of each address stay on: everybody comes from another one.
    const server = await startLatchkey(database, { TRUST_PROXY: '127.0.0.1', LOGINS_PER_ACCOUNT_MINUTE: '0' })
    const load: Load = { server, path: '/need_login', connections, requests: withTokens(await database.tokens(1)), perSecond: checksPerSecond, settleSeconds }
    progress(`token checks, ${database.name}, calm`)
    const calm = await runWindow(load, calmSeconds)

    progress(`token checks, ${database.name}, with ${Math.round(overload * capacity)} logins a second beside them`)
    const beginAtMs = Date.now() + overloadStartMs
    const overloading = runProgram('bench/login-overload.ts', [], {
      URL: server.url,
      REQUESTS: JSON.stringify(logins(Array.from({ length: accounts }, (_, i) => i + 1))),
      PER_SECOND: String(overload * capacity),
      SECONDS: String(overloadSeconds),
      BEGIN_AT_MS: String(beginAtMs)
    })
    const checking = delay(beginAtMs - Date.now()).then(() => runWindow(load, overloadSeconds))
    const [printed, overloaded] = await Promise.all([overloading, checking])
    const counts: StormCounts = JSON.parse(printed)
    if (counts.others > 0) throw new Error(`${counts.others} logins were answered neither 200 nor 503`)
    figures.push({
      database: database.name,
      ratio: overloaded.p99Ms / calm.p99Ms,
      calmP99Ms: calm.p99Ms,
      overloadP99Ms: overloaded.p99Ms,
      requestsPerSecond: overloaded.requestsPerSecond,
      loginsOfferedPerSecond: overload * capacity,
      ...counts
    })
    await server.stop()
  }
  return figures
}
