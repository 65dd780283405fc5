import { and, desc, eq, exists, gt, inArray, lte, notExists, type SQL } from 'drizzle-orm'
import type { Query, Store } from '../../database/store.js'
import { valueOf } from '../../database/value-of.js'
import { rowsPerCleanup } from '../../lib/background.js'
import { revocationRetryMs } from '../roles/lock-admins.js'
import { createCode, hashCode } from './code.js'

/** What a code proves. */
export type CodeKind = Store['tables']['codes']['$inferSelect']['kind']

/** A stored code. */
export type CodeRow = Store['tables']['codes']['$inferSelect']

/** A new code, which is shown this once. */
export interface IssuedCode {
  code: string
  expiresAt: Date
}

/** A code to be stored. */
export interface NewCode {
  kind: CodeKind
  /** Undefined for an invitation: the account does not exist yet. */
  userId?: number
  /** What is done with it: JSON of its kind; never a secret that is not sealed. */
  data?: object
  lifetimeSeconds: number
}

/** Every query on one-time codes. */
export type Codes = ReturnType<typeof codesRepository>

/**
 * Every query on one-time codes. Only their hashes are stored.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function codesRepository (store: Store, now: () => number) {
  const { db, tables: { codes, users } } = store
  const isUsable = (kind: CodeKind, hash: string) => and(eq(codes.hash, hash), eq(codes.kind, kind), gt(codes.expiresAt, new Date(now())))
  const ofUser = (userId: number, kinds: CodeKind[]) => and(eq(codes.userId, userId), inArray(codes.kind, kinds))

  /** A new code and its row. */
  function prepare ({ kind, userId, data, lifetimeSeconds }: NewCode): IssuedCode & { row: CodeRow } {
    const code = createCode()
    const createdAt = new Date(now())
    const expiresAt = new Date(createdAt.getTime() + lifetimeSeconds * 1_000)
    return { code, expiresAt, row: { hash: String(hashCode(code)), kind, userId: userId ?? null, data: data === undefined ? null : JSON.stringify(data), createdAt, expiresAt } }
  }

  /** A row as a select, for the user that a condition selects. */
  function selectRow ({ hash, kind, data, createdAt, expiresAt }: CodeRow, condition: SQL | undefined) {
    return db.select({
      hash: valueOf(hash, codes.hash),
      kind: valueOf(kind, codes.kind),
      userId: users.id,
      data: valueOf(data, codes.data),
      createdAt: valueOf(createdAt, codes.createdAt),
      expiresAt: valueOf(expiresAt, codes.expiresAt)
    }).from(users).where(condition)
  }

  return {
    prepare,

    /** For a batch: inserts a row of `prepare`. */
    insertQuery: (row: CodeRow): Query => db.insert(codes).values(row),

    /** For a batch: inserts a row of `prepare` for the user that a condition on users selects, if there is one. */
    insertForQuery: (row: CodeRow, condition: SQL | undefined): Query => db.insert(codes).select(selectRow(row, condition)),

    /** For a condition of another query: whether the code exists, has this kind and has not expired. */
    isUsable: (kind: CodeKind, hash: string): SQL => exists(db.select({ hash: codes.hash }).from(codes).where(isUsable(kind, hash))),

    /**
     * For the start of a batch that depends on a code: until it ends, no other batch with the same
     * code runs, on any server. An update without a change locks the row.
     */
    lockQuery: (hash: string): Query => db.update(codes).set({ hash }).where(eq(codes.hash, hash)),

    /** For a batch: deletes a code, if a condition holds. */
    deleteQuery: (hash: string, condition?: SQL): Query => db.delete(codes).where(and(eq(codes.hash, hash), condition)),

    /** For a batch: deletes all codes of some kinds of a user. */
    deleteOfUserQuery: (userId: number, kinds: CodeKind[], condition?: SQL): Query => db.delete(codes).where(and(ofUser(userId, kinds), condition)),

    /**
     * Creates a code of a user, and deletes the older ones of its kind.
     *
     * @param options.pauseMs creates none if the newest one is younger, and leaves that as it is
     * @param options.condition must hold for the user's row: otherwise nothing changes
     * @returns undefined when none was created, or there is no such user
     */
    async issue (newCode: NewCode & { userId: number }, { pauseMs = 0, condition }: { pauseMs?: number, condition?: SQL } = {}): Promise<IssuedCode | undefined> {
      const { kind, userId } = newCode
      const { row, ...issued } = prepare(newCode)
      const isRecent = and(ofUser(userId, [kind]), gt(codes.createdAt, new Date(now() - pauseMs)))
      const isUser = and(eq(users.id, userId), condition)
      const written = await store.batch([
        ...store.lockUser(userId),
        db.delete(codes).where(and(ofUser(userId, [kind]), exists(db.select({ id: users.id }).from(users).where(isUser)), pauseMs === 0 ? undefined : lte(codes.createdAt, new Date(now() - pauseMs)))),
        db.insert(codes).select(selectRow(row, and(isUser, pauseMs === 0 ? undefined : notExists(db.select({ hash: codes.hash }).from(codes).where(isRecent)))))
      ], { retryBusyMs: revocationRetryMs })
      return written.at(-1) === 0 ? undefined : issued
    },

    /** A usable code; undefined where there is none. Does not use it. */
    async find (kind: CodeKind, code: string): Promise<CodeRow | undefined> {
      const hash = hashCode(code)
      if (hash === undefined) return undefined
      const [row] = await db.select().from(codes).where(isUsable(kind, hash))
      return row
    },

    /** Uses a code: of many attempts at once one gets its row, the others `undefined`. */
    async consume (kind: CodeKind, code: string, userId?: number): Promise<CodeRow | undefined> {
      const hash = hashCode(code)
      if (hash === undefined) return undefined
      const [row] = await db.delete(codes).where(and(isUsable(kind, hash), userId === undefined ? undefined : eq(codes.userId, userId))).returning()
      return row
    },

    /** Usable codes of a kind, newest first. */
    async list (kind: CodeKind): Promise<CodeRow[]> {
      return await db.select().from(codes).where(and(eq(codes.kind, kind), gt(codes.expiresAt, new Date(now())))).orderBy(desc(codes.createdAt), desc(codes.hash))
    },

    /** The newest usable code of a kind that a user has. */
    async newestOfUser (kind: CodeKind, userId: number): Promise<CodeRow | undefined> {
      const [row] = await db.select().from(codes).where(and(ofUser(userId, [kind]), gt(codes.expiresAt, new Date(now())))).orderBy(desc(codes.createdAt)).limit(1)
      return row
    },

    /** Deletes expired codes, at most `rowsPerCleanup` of them, and returns how many. */
    async deleteExpired (): Promise<number> {
      const expired = db.select({ hash: codes.hash }).from(codes).where(lte(codes.expiresAt, new Date(now()))).limit(rowsPerCleanup)
      return (await db.delete(codes).where(inArray(codes.hash, expired)).returning({ hash: codes.hash })).length
    },

    /** Deletes every code. */
    async deleteAll (): Promise<void> {
      await db.delete(codes)
    }
  }
}
