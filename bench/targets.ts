import type { ScalingFigures } from './scaling.js'
import { hashAlone, hashServed, type LoginFigures } from './logins.js'
import type { StartFigures } from './start.js'
import { over } from './statistics.js'
import type { OverloadFigures } from './overload.js'
import { bareFastify, latchkeyOn, baseline, type ThroughputCell } from './throughput.js'

/** All results of a run. */
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

/** Compares the results with their targets. */
export function checkTargets ({ throughput, logins, overload, scaling, starts }: Results): Target[] {
  const perSecond = (server: string, route: string, tokens: number) =>
    throughput.find((cell) => cell.server === server && cell.route === route && cell.tokens === tokens && cell.connections === 64)?.requestsPerSecond
  const manyTokens = Math.max(...throughput.map(({ tokens }) => tokens))
  const fewest = scaling[0]
  const most = scaling.at(-1)
  const users = most?.users.toLocaleString('en')
  const [bareStart, ourStart] = starts
  return [
    checkTarget('/need_login, 1 token, over bare Fastify', over(perSecond(latchkey, '/need_login', 1), perSecond(bareFastify, '/', 0)), { atLeast: 0.75 }),
    checkTarget(`/need_login, ${manyTokens.toLocaleString('en')} tokens, over bare Fastify`, over(perSecond(latchkey, '/need_login', manyTokens), perSecond(bareFastify, '/', 0)), { atLeast: 0.65 }),
    checkTarget('/need_login, 1 token, over the baseline guard', over(perSecond(latchkey, '/need_login', 1), perSecond(baseline, '/need_login', 1)), { atLeast: 2 }),
    checkTarget('/api/v1/me, 1 token, over bare Fastify with the same JSON', over(perSecond(latchkey, '/api/v1/me', 1), perSecond(bareFastify, '/json', 0)), { atLeast: 0.7 }),
    ...logins.filter(({ name }) => ![hashAlone, hashServed].includes(name)).map(({ name, ratio }) => checkTarget(`logins over bare argon2id, ${name}`, ratio, { atLeast: 0.93 })),
    ...overload.flatMap(({ database, ratio, overloadP99Ms }) => [
      checkTarget(`p99 of token checks in a login overload over calm, ${database}`, ratio, { atMost: 5 }),
      checkTarget(`p99 of token checks in a login overload, ${database}`, overloadP99Ms, { atMost: 50 }, 'ms')
    ]),
    checkTarget(`/need_login, ${users} users over ${fewest?.users.toLocaleString('en')}`, most?.guardedRatio, { atLeast: 0.93 }),
    checkTarget(`logins, ${users} users over ${fewest?.users.toLocaleString('en')}`, most?.loginRatio, { atLeast: 0.93 }),
    checkTarget('start over bare Fastify with a database', over(ourStart?.startMs, bareStart?.startMs), { atMost: 1.6 }),
    checkTarget('idle memory over bare Fastify with a database', over(ourStart?.idleMebibytes, bareStart?.idleMebibytes), { atMost: 1.5 })
  ]
}
