import { createHmac } from 'node:crypto'
import { and, gt, inArray, lte, notInArray } from 'drizzle-orm'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { bestEffort } from '../../lib/background.js'
import type { ResolvedOptions } from '../../options.js'

/** How often a server records that it still signs with its key, in milliseconds. */
const recordIntervalMs = 3_600_000

/** A name for a key that does not reveal it: part of a MAC, for a key of 256 bits (RFC 2104). */
function keyId (secretKey: string): string {
  return createHmac('sha256', secretKey).update('latchkey signing key').digest('base64url').slice(0, 16)
}

/**
 * Warns when the database has tokens that neither key of this server verifies: their users are
 * logged out. Servers record which keys they sign with, by an id. It runs when the app listens,
 * so that the start does not wait for it.
 */
const plugin: FastifyPluginAsync<Pick<ResolvedOptions, 'secretKey' | 'secretKeyPrevious' | 'now'>> = async (app, { secretKey, secretKeyPrevious, now }) => {
  const { db, relaxed, tables: { signingKeys, tokens } } = app.store
  const id = keyId(secretKey)
  const accepted = secretKeyPrevious === undefined ? [id] : [id, keyId(secretKeyPrevious)]

  async function record (): Promise<void> {
    const current = { lastUsedAt: new Date(now()) }
    await relaxed.insert(signingKeys).values({ id, ...current }).onConflictDoUpdate({ target: signingKeys.id, set: current })
  }

  /** When a server last had another key with which tokens were signed that have not expired; undefined when there are none. */
  async function findForeignUse (): Promise<Date | undefined> {
    const foreign = await db.select({ id: signingKeys.id, lastUsedAt: signingKeys.lastUsedAt }).from(signingKeys).where(notInArray(signingKeys.id, accepted))
    const lastUsedAt = foreign.map((key) => key.lastUsedAt).sort((a, b) => b.getTime() - a.getTime())[0]
    if (lastUsedAt === undefined) return undefined
    const [token] = await db.select({ id: tokens.id }).from(tokens).where(and(gt(tokens.expiresAt, new Date(now())), lte(tokens.createdAt, lastUsedAt))).limit(1)
    if (token !== undefined) return lastUsedAt
    await relaxed.delete(signingKeys).where(inArray(signingKeys.id, foreign.map((key) => key.id)))
  }

  const check = bestEffort(app, {
    async work () {
      const lastUsedAt = await findForeignUse()
      if (lastUsedAt !== undefined) app.log.warn(`some tokens in the database were signed with another SECRET_KEY, which a server had until ${lastUsedAt.toISOString()}: this server rejects them. If that is a mistake, set SECRET_KEY_PREVIOUS to that key, or SECRET_KEY if it was not to change`)
      await record()
    },
    failure: 'the keys that sign tokens could not be compared'
  })

  const timer = setInterval(bestEffort(app, { work: record, failure: 'the use of the signing key could not be recorded' }), recordIntervalMs).unref()
  app.addHook('onListen', check)
  app.addHook('onClose', async () => clearInterval(timer))
}

export default fp(plugin, { name: 'latchkey-signing-keys', dependencies: ['latchkey-tokens'] })
