import { and, asc, count, eq, gt, isNotNull, isNull, lte, type SQL } from 'drizzle-orm'
import { clockRepository } from '../../plugins/cleanup/repository.js'
import { adminRole } from '../../plugins/roles/role-name.js'
import { createSealing } from '../../plugins/second-factor/sealing.js'
import type { Config } from '../../standalone/config.js'
import { countOf } from '../output.js'
import { type Check, failure, type Finding, ok, warning } from './check.js'
import type { Reading } from './reading.js'

/** What the checks of the rows need. */
export interface Content extends Pick<Reading, 'db' | 'tables'> { config: Config }

const dayMs = 86_400_000
const weekMs = 7 * dayMs
/** How many secrets are read at once. */
const pageLength = 500

/** How many admins meet a condition. */
async function countAdmins ({ db, tables: { userRoles, users } }: Content, condition: SQL | undefined): Promise<number> {
  const [row] = await db.select({ admins: count() }).from(userRoles).innerJoin(users, eq(users.id, userRoles.userId)).where(and(eq(userRoles.roleName, adminRole), condition))
  return Number(row?.admins)
}

async function checkAdmins (content: Content): Promise<Finding> {
  const { users } = content.tables
  const [enabled, disabled] = [await countAdmins(content, isNull(users.disabledAt)), await countAdmins(content, isNotNull(users.disabledAt))]
  if (enabled > 0) return ok(countOf(enabled, 'admin'))
  return disabled > 0
    ? warning('every admin is disabled', 'run latchkey user enable <name>, or latchkey role grant <name> admin')
    : warning('there is no admin', 'run latchkey user create <name> --admin, or latchkey role grant <name> admin')
}

async function checkSecondFactors (content: Content): Promise<Finding> {
  const { disabledAt, secondFactorAt } = content.tables.users
  const without = await countAdmins(content, and(isNull(disabledAt), isNull(secondFactorAt)))
  return without === 0 ? ok('no enabled admin is without a second factor') : warning(`${countOf(without, 'admin')} without a second factor`, 'ask them to switch it on: a password alone can be guessed, stolen or phished')
}

/** Whether the server can read the secrets of second factors with its keys. */
async function checkSecrets ({ db, tables: { secondFactors }, config }: Content, signal: AbortSignal): Promise<Finding> {
  const sealing = createSealing(config.secretKey, config.secretKeyPrevious)
  const counts = { current: 0, previous: 0, unreadable: 0 }
  const readWith = (sealed: string): keyof typeof counts => {
    try {
      return sealing.open(sealed).isOutdated ? 'previous' : 'current'
    } catch {
      return 'unreadable'
    }
  }
  for (let last: number | undefined = 0; last !== undefined && !signal.aborted;) {
    const rows: Array<{ userId: number, sealedSecret: string }> = await db.select({ userId: secondFactors.userId, sealedSecret: secondFactors.sealedSecret }).from(secondFactors).where(gt(secondFactors.userId, last)).orderBy(asc(secondFactors.userId)).limit(pageLength)
    for (const { sealedSecret } of rows) counts[readWith(sealedSecret)]++
    last = rows.at(-1)?.userId
  }
  if (counts.unreadable > 0) return failure(`${countOf(counts.unreadable, 'secret')} of second factors cannot be read: another SECRET_KEY has sealed them`, 'set SECRET_KEY, or SECRET_KEY_PREVIOUS, to the key that the server had; where it is lost, these users cannot log in until their second factor is switched off')
  return ok(`${countOf(counts.current + counts.previous, 'secret')} of second factors can be read, ${counts.previous} of them only with SECRET_KEY_PREVIOUS`)
}

async function checkClock (content: Content): Promise<Finding> {
  const nowMs = Date.now()
  const newestMs = await clockRepository(content).newestMs() ?? nowMs
  return newestMs - nowMs <= dayMs ? ok('the clock is not behind the newest row') : failure(`the clock shows ${new Date(nowMs).toISOString()}, but the newest row is of ${new Date(newestMs).toISOString()}`, 'set the clock: tokens are valid for too long, or not yet')
}

async function checkCleanup ({ db, tables: { codes, events, tokens }, config }: Content): Promise<Finding> {
  const before = Date.now() - weekMs
  const counts = [
    await db.select({ rows: count() }).from(tokens).where(lte(tokens.expiresAt, new Date(before))),
    await db.select({ rows: count() }).from(codes).where(lte(codes.expiresAt, new Date(before))),
    await db.select({ rows: count() }).from(events).where(lte(events.time, new Date(before - config.auditRetentionDays * dayMs)))
  ]
  const rows = counts.flat().reduce((sum, { rows }) => sum + Number(rows), 0)
  return rows === 0 ? ok('no row has expired more than a week ago') : warning(`${countOf(rows, 'row')} expired more than a week ago and ${rows === 1 ? 'was' : 'were'} not deleted`, 'start the server, which deletes them within an hour; if it runs, look for "Cleanup waits" in its log')
}

/** Checks of the rows, on both kinds of database. */
export const contentChecks: Array<Check<Content>> = [
  { name: 'admins', run: checkAdmins },
  { name: 'second-factors', run: checkSecondFactors },
  { name: 'sealed-secrets', run: checkSecrets },
  { name: 'clock', run: checkClock },
  { name: 'cleanup', run: checkCleanup }
]
