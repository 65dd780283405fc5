import { setTimeout as delay } from 'node:timers/promises'
import { type SeededDatabase, startLatchkey } from './databases.js'
import { type Load, measureLoad, withTokens } from './load.js'
import { loginUsers, type LoginFigures } from './logins.js'
import { logins } from './fixtures.js'
import { runProgram } from './processes.js'
import { progress } from './progress.js'
import type { Scale } from './scale.js'

/** The rate of token checks per second, and their connections. */
export const checksPerSecond = 1_000
const connections = 8
/** The rate of logins, as a multiple of the capacity. */
const overloadFactor = 3
/** The longest start of the process that sends the logins. */
const overloadStartMs = 1_000

/** How many logins had which outcome. */
export interface OverloadCounts {
  /** 200 */
  accepted: number
  /** 503 */
  rejected: number
  /** Any other status, or no response. */
  others: number
  slowestAcceptedMs: number
}

/** Token checks without and during a login overload. */
export interface OverloadFigures extends OverloadCounts {
  database: string
  /** The p99 during the overload divided by the p99 without it. */
  ratio: number
  calmP99Ms: number
  overloadP99Ms: number
  /** Token checks answered per second during the overload. */
  requestsPerSecond: number
  loginsOfferedPerSecond: number
}

/** Measures token checks while clients send three times more logins than the server can hash. */
export async function measureOverload (databases: SeededDatabase[], capacities: LoginFigures[], { calmSeconds, overloadSeconds, settleSeconds }: Scale): Promise<OverloadFigures[]> {
  const figures: OverloadFigures[] = []
  for (const database of databases) {
    const capacity = Number(capacities.find((logins) => logins.database === database.name)?.requestsPerSecond)
    // The limits by address stay on: each login comes from another address.
    const server = await startLatchkey(database, { TRUST_PROXY: '127.0.0.1', LOGINS_PER_ACCOUNT_MINUTE: '0' })
    const load: Load = { server, path: '/need_login', connections, requests: withTokens(await database.tokens(1)), perSecond: checksPerSecond, settleSeconds }
    progress(`token checks, ${database.name}, calm`)
    const calm = await measureLoad(load, calmSeconds)

    progress(`token checks, ${database.name}, with ${Math.round(overloadFactor * capacity)} logins per second in parallel`)
    const beginAtMs = Date.now() + overloadStartMs
    const overloading = runProgram('bench/login-overload.ts', [], {
      URL: server.url,
      REQUESTS: JSON.stringify(logins(Array.from({ length: loginUsers }, (_, i) => i + 1))),
      PER_SECOND: String(overloadFactor * capacity),
      SECONDS: String(overloadSeconds),
      BEGIN_AT_MS: String(beginAtMs)
    })
    const checking = delay(beginAtMs - Date.now()).then(() => measureLoad(load, overloadSeconds))
    const [printed, overloaded] = await Promise.all([overloading, checking])
    const counts: OverloadCounts = JSON.parse(printed)
    if (counts.others > 0) throw new Error(`${counts.others} logins were answered neither 200 nor 503`)
    figures.push({
      database: database.name,
      ratio: overloaded.p99Ms / calm.p99Ms,
      calmP99Ms: calm.p99Ms,
      overloadP99Ms: overloaded.p99Ms,
      requestsPerSecond: overloaded.requestsPerSecond,
      loginsOfferedPerSecond: overloadFactor * capacity,
      ...counts
    })
    await server.stop()
  }
  return figures
}
