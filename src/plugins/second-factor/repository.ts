import { and, asc, eq, exists, gt, isNotNull, lt, ne, type SQL } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import type { Query } from '../../database/store.js'
import { valueOf } from '../../database/value-of.js'
import { type Actor, adminLocks, isStillAdmin } from '../roles/admin-conditions.js'
import { revocationRetryMs } from '../roles/lock-admins.js'
import { type Owner, ownerConditions } from '../users/owner.js'

/** How many recovery codes a user gets. */
export const recoveryCodeCount = 10
/** How long recovery codes are valid, in seconds: a thousand years. */
export const recoveryLifetimeSeconds = 1_000 * 365 * 86_400

/** A stored second factor; both members are null where its row is missing. */
export interface StoredSecondFactor {
  sealedSecret: string | null
  /** When it was switched on; null while it is off. */
  secondFactorAt: Date | null
}

/** A secret that a code has proven. */
export interface ProvenSecret {
  sealedSecret: string
  /** The time step of that code. */
  step: number
}

/** Every query on second factors. */
export type SecondFactorRepository = ReturnType<typeof secondFactorRepository>

/**
 * Every query on second factors.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function secondFactorRepository ({ codes, store }: Pick<FastifyInstance, 'codes' | 'store'>, now: () => number) {
  const { db, tables: { codes: codeRows, secondFactors, tokens, users } } = store
  const { isOwner } = ownerConditions(store)
  const userExists = (condition: SQL | undefined) => exists(db.select({ id: users.id }).from(users).where(condition))

  /** New recovery codes, and the queries that put them in place of the old ones, for the user that a condition on users selects. */
  function newRecoveryCodes (userId: number, condition: SQL | undefined): { recoveryCodes: string[], queries: Query[] } {
    const issued = Array.from({ length: recoveryCodeCount }, () => codes.prepare({ kind: 'recovery', userId, lifetimeSeconds: recoveryLifetimeSeconds }))
    return {
      recoveryCodes: issued.map(({ code }) => code),
      queries: [codes.deleteOfUserQuery(userId, ['recovery'], userExists(condition)), ...issued.map(({ row }) => codes.insertForQuery(row, condition))]
    }
  }

  return {
    /** The second factor of a user; `undefined` when there is no such user. */
    async find (userId: number): Promise<StoredSecondFactor | undefined> {
      const [row] = await db.select({ sealedSecret: secondFactors.sealedSecret, secondFactorAt: users.secondFactorAt })
        .from(users).leftJoin(secondFactors, eq(secondFactors.userId, users.id)).where(eq(users.id, userId))
      return row
    },

    /** How many recovery codes a user has that were not used. */
    countRecoveryCodes: (userId: number): Promise<number> =>
      db.$count(codeRows, and(eq(codeRows.userId, userId), eq(codeRows.kind, 'recovery'), gt(codeRows.expiresAt, new Date(now())))),

    /** Uses a time step: of many attempts at once one gets it. False when it, or a later one, was used before. */
    async claimStep (userId: number, step: number): Promise<boolean> {
      const rows = await db.update(secondFactors).set({ lastStep: step })
        .where(and(eq(secondFactors.userId, userId), lt(secondFactors.lastStep, step)))
        .returning({ userId: secondFactors.userId })
      return rows.length > 0
    },

    /** Replaces a sealed secret that was not changed concurrently. */
    resealQuery: (userId: number, before: string, after: string): Query =>
      db.update(secondFactors).set({ sealedSecret: after }).where(and(eq(secondFactors.userId, userId), eq(secondFactors.sealedSecret, before))),

    /** The next sealed secrets by user id. */
    page: async (afterId: number, limit: number): Promise<Array<{ userId: number, sealedSecret: string }>> =>
      await db.select({ userId: secondFactors.userId, sealedSecret: secondFactors.sealedSecret }).from(secondFactors)
        .where(gt(secondFactors.userId, afterId)).orderBy(asc(secondFactors.userId)).limit(limit),

    /**
     * Switches the second factor on, in place of one that may be on already: with new recovery
     * codes; every token but that of the request is revoked. All of it or nothing.
     *
     * @param enrolmentHash the hash of the enrolment, which is used up
     * @returns the recovery codes; `undefined` when the enrolment is not usable any longer, or the token was revoked
     */
    async switchOn (userId: number, tokenId: string, enrolmentHash: string, { sealedSecret, step }: ProvenSecret): Promise<string[] | undefined> {
      const time = new Date(now())
      const isAllowed = and(isOwner(userId, { tokenId }), codes.isUsable('second_factor', enrolmentHash))
      const { recoveryCodes, queries } = newRecoveryCodes(userId, isAllowed)
      const row = db.select({
        userId: users.id,
        sealedSecret: valueOf(sealedSecret, secondFactors.sealedSecret),
        lastStep: valueOf(step, secondFactors.lastStep)
      }).from(users).where(isAllowed)
      // The user first, as in every batch on the codes of a user: two of them never wait for each other.
      const written = await store.batch([
        ...store.lockUser(userId),
        codes.lockQuery(enrolmentHash),
        db.insert(secondFactors).select(row).onConflictDoUpdate({ target: secondFactors.userId, set: { sealedSecret, lastStep: step } }),
        db.update(users).set({ secondFactorAt: time, updatedAt: time }).where(isAllowed),
        ...queries,
        db.delete(tokens).where(and(eq(tokens.userId, userId), ne(tokens.id, tokenId), userExists(isAllowed))),
        codes.deleteOfUserQuery(userId, ['second_factor'], userExists(isAllowed))
      ], { retryBusyMs: revocationRetryMs })
      return written.at(-1) === 0 ? undefined : recoveryCodes
    },

    /**
     * Switches the second factor off. Where its owner does, every token but that of the request is revoked.
     *
     * @param options.actor the admin who acts; undefined where the owner or the operator does
     * @returns false, and nothing changes, when it was off, the owner has not the verified password
     * or the token any longer, or the actor is not an admin any longer
     */
    async switchOff (userId: number, { actor, ...owner }: Owner & { actor?: Actor } = {}): Promise<boolean> {
      const { tokenId } = owner
      const isAllowed = and(isOwner(userId, owner), isNotNull(users.secondFactorAt), isStillAdmin(store, actor))
      const written = await store.batch([
        ...actor === undefined ? store.lockUser(userId) : adminLocks(store, actor, userId),
        db.delete(secondFactors).where(and(eq(secondFactors.userId, userId), userExists(isAllowed))),
        codes.deleteOfUserQuery(userId, ['second_factor', 'recovery'], userExists(isAllowed)),
        ...tokenId === undefined ? [] : [db.delete(tokens).where(and(eq(tokens.userId, userId), ne(tokens.id, tokenId), userExists(isAllowed)))],
        db.update(users).set({ secondFactorAt: null, updatedAt: new Date(now()) }).where(isAllowed)
      ], { retryBusyMs: revocationRetryMs })
      return written.at(-1) !== 0
    },

    /**
     * Replaces the recovery codes.
     *
     * @returns the new ones; none, and nothing changes, when the second factor is off, or the owner
     * has not the verified password or the token any longer
     */
    async replaceRecoveryCodes (userId: number, owner: Owner): Promise<string[]> {
      const { recoveryCodes, queries } = newRecoveryCodes(userId, and(isOwner(userId, owner), isNotNull(users.secondFactorAt)))
      const written = await store.batch([...store.lockUser(userId), ...queries], { retryBusyMs: revocationRetryMs })
      return written.at(-1) === 0 ? [] : recoveryCodes
    }
  }
}
