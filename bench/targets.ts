import type { ScalingFigures } from './scaling.js'
import { hashAlone, hashServed, type LoginFigures } from './logins.js'
import type { StartFigures } from './start.js'
import { over } from './statistics.js'
import type { OverloadFigures } from './overload.js'
import { bareFastify, latchkeyOn, textbook, type ThroughputCell } from './throughput.js'

/** Everything that was measured. */
export interface Results {
  throughput: ThroughputCell[]
  logins: LoginFigures[]
  overload: OverloadFigures[]
  scaling: ScalingFigures[]
  starts: StartFigures[]
}

/** A figure beside what it should be. */
export interface Target {
  what: string
  /** A ratio, or what `unit` says; `undefined` where it could not be measured. */
  value: number | undefined
  unit: '' | 'ms'
  atLeast?: number
  atMost?: number
  isMet: boolean | undefined
}

const latchkey = latchkeyOn('SQLite')

function judge (what: string, value: number | undefined, bound: { atLeast?: number, atMost?: number }, unit: Target['unit'] = ''): Target {
  const { atLeast = -Infinity, atMost = Infinity } = bound
  return { what, value, unit, ...bound, isMet: value === undefined ? undefined : value >= atLeast && value <= atMost }
}

/** What was measured, beside what it should be. */
export function judgeTargets ({ throughput, logins, overload, scaling, starts }: Results): Target[] {
  const perSecond = (server: string, route: string, tokens: number) =>
    throughput.find((cell) => cell.server === server && cell.route === route && cell.tokens === tokens && cell.connections === 64)?.requestsPerSecond
  const manyTokens = Math.max(...throughput.map(({ tokens }) => tokens))
  const fewest = scaling[0]
  const most = scaling.at(-1)
  const users = most?.users.toLocaleString('en')
  const [bareStart, ourStart] = starts
  return [
    judge('/need_login, 1 token, over bare Fastify', over(perSecond(latchkey, '/need_login', 1), perSecond(bareFastify, '/', 0)), { atLeast: 0.75 }),
    judge(`/need_login, ${manyTokens.toLocaleString('en')} tokens, over bare Fastify`, over(perSecond(latchkey, '/need_login', manyTokens), perSecond(bareFastify, '/', 0)), { atLeast: 0.65 }),
    judge('/need_login, 1 token, over the baseline guard', over(perSecond(latchkey, '/need_login', 1), perSecond(textbook, '/need_login', 1)), { atLeast: 2 }),
    judge('/api/v1/me, 1 token, over bare Fastify with the same JSON', over(perSecond(latchkey, '/api/v1/me', 1), perSecond(bareFastify, '/json', 0)), { atLeast: 0.7 }),
    ...logins.filter(({ name }) => ![hashAlone, hashServed].includes(name)).map(({ name, ratio }) => judge(`logins over bare argon2id, ${name}`, ratio, { atLeast: 0.93 })),
    ...overload.flatMap(({ database, ratio, overloadP99Ms }) => [
      judge(`p99 of token checks in a login overload over calm, ${database}`, ratio, { atMost: 5 }),
      judge(`p99 of token checks in a login storm, ${database}`, overloadP99Ms, { atMost: 50 }, 'ms')
    ]),
    judge(`/need_login, ${users} users over ${fewest?.users.toLocaleString('en')}`, most?.guardedRatio, { atLeast: 0.93 }),
    judge(`logins, ${users} users over ${fewest?.users.toLocaleString('en')}`, most?.loginRatio, { atLeast: 0.93 }),
    judge('start over bare Fastify with a database', over(ourStart?.startMs, bareStart?.startMs), { atMost: 1.6 }),
    judge('idle memory over bare Fastify with a database', over(ourStart?.idleMebibytes, bareStart?.idleMebibytes), { atMost: 1.5 })
  ]
}
