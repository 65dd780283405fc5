import type { ScalingFigures } from './scaling.js'
import type { LoginFigures } from './logins.js'
import type { StartFigures } from './start.js'
import { over } from './statistics.js'
import type { OverloadFigures } from './overload.js'
import { baseline, latchkeyLogging, latchkeyOn, type ThroughputCell } from './throughput.js'

/** All results of a full run. */
export interface Results {
  throughput: ThroughputCell[]
  logins: LoginFigures[]
  overload: OverloadFigures[]
  scaling: ScalingFigures[]
  starts: StartFigures[]
}

/** A result and its target. */
export interface Target {
  what: string
  /** A ratio, or a value in `unit`; `undefined` when it was not measured. */
  value: number | undefined
  unit: '' | 'ms'
  atLeast?: number
  atMost?: number
  isMet: boolean | undefined
}

const latchkey = latchkeyOn('SQLite')

function checkTarget (what: string, value: number | undefined, bound: { atLeast?: number, atMost?: number }, unit: Target['unit'] = ''): Target {
  const { atLeast = -Infinity, atMost = Infinity } = bound
  return { what, value, unit, ...bound, isMet: value === undefined ? undefined : value >= atLeast && value <= atMost }
}

/** Compares the results with their targets: almost all are ratios within one run. */
export function checkTargets ({ throughput, logins, overload, scaling, starts }: Results): Target[] {
  const cellOf = (server: string, route: string, tokens: number) =>
    throughput.find((cell) => cell.server === server && cell.route === route && cell.tokens === tokens && cell.connections === 64)
  const manyTokens = Math.max(...throughput.map(({ tokens }) => tokens))
  const many = `${manyTokens.toLocaleString('en')} tokens`
  const guarded = cellOf(latchkey, '/need_login', 1)
  const fewest = scaling[0]?.users.toLocaleString('en')
  const most = scaling.at(-1)
  const users = most?.users.toLocaleString('en')
  const [bareStart, ourStart] = starts
  return [
    checkTarget('CPU of /need_login, 1 token, over bare Fastify', guarded?.cpuRatio, { atMost: 1.25 }),
    checkTarget('/need_login, 1 token, over bare Fastify', guarded?.ratio, { atLeast: 0.8 }),
    checkTarget(`/need_login, ${many}, over bare Fastify`, cellOf(latchkey, '/need_login', manyTokens)?.ratio, { atLeast: 0.7 }),
    checkTarget('/need_login, 1 token, requests logged, over bare Fastify', cellOf(latchkeyLogging, '/need_login', 1)?.ratio, { atLeast: 0.65 }),
    checkTarget('/need_login, 1 token, PostgreSQL, over bare Fastify', cellOf(latchkeyOn('PostgreSQL'), '/need_login', 1)?.ratio, { atLeast: 0.45 }),
    checkTarget('/need_login, 1 token, over the baseline guard', over(guarded?.requestsPerSecond, cellOf(baseline, '/need_login', 1)?.requestsPerSecond), { atLeast: 2 }),
    checkTarget('/api/v1/me, 1 token, over bare Fastify with the same JSON', cellOf(latchkey, '/api/v1/me', 1)?.ratio, { atLeast: 0.72 }),
    ...logins.filter(({ database }) => database !== undefined).map(({ database, ratio }) => checkTarget(`logins over bare Fastify that verifies argon2id, ${database}`, ratio, { atLeast: 0.93 })),
    ...overload.flatMap(({ database, ratio, overloadP99Ms }) => [
      checkTarget(`p99 of token checks in a login overload over calm, ${database}`, ratio, { atMost: 5 }),
      checkTarget(`p99 of token checks in a login overload, ${database}`, overloadP99Ms, { atMost: 50 }, 'ms')
    ]),
    checkTarget(`/need_login, ${users} users over ${fewest}`, most?.guardedRatio, { atLeast: 0.93 }),
    checkTarget(`logins, ${users} users over ${fewest}`, most?.loginRatio, { atLeast: 0.93 }),
    checkTarget('start over bare Fastify with a database', over(ourStart?.startMs, bareStart?.startMs), { atMost: 1.35 }),
    checkTarget('idle memory over bare Fastify with a database', over(ourStart?.idleMebibytes, bareStart?.idleMebibytes), { atMost: 1.3 })
  ]
}
