import { existsSync, lstatSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import Database from 'better-sqlite3'
import { drizzle } from 'drizzle-orm/better-sqlite3'
import { errorMessage } from '../../lib/error-code.js'
import { makeFolder, realFile } from '../../lib/new-file.js'
import { handleSignals, withPartFile } from '../../lib/part-file.js'
import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import { StoreError } from '../store-error.js'
import { countUsers, openReadOnly, requireFile } from './backup.js'
import { noBallast } from './ballast.js'
import { isSameFile, prepareFile } from './file.js'
import { requireIntact, requireKnownSchema, requireLatchkey, requireNoTriggers } from './known-schema.js'
import { migrate } from './migrate.js'
import { presentPageSize, type Replaced, replaceDatabase } from './replace.js'
import * as tables from './schema.js'

/** The kinds of codes that no email or message contains, only their owner's drawer: they stay valid. */
const keptCodeKinds = ['recovery']

/** How a database is restored. */
export interface RestoreOptions {
  /** Keeps the tokens and codes of the backup, which can have been revoked or used since. */
  keepTokens: boolean
  /** What the audit log says about it; nothing when it is switched off. */
  event?: typeof tables.events.$inferInsert
  /** Asked before anything is changed, with the number of accounts; rejects to change nothing. */
  confirm: (file: string, users: number) => Promise<void>
}

/** What was restored. */
export interface Restored extends Replaced {
  /** The file of the database. */
  file: string
  users: number
  revokedTokens: number
  deletedCodes: number
}

/** @throws {Error} a file is no backup that can be restored */
function checkBackup (backup: string): void {
  const client = openReadOnly(backup)
  try {
    requireLatchkey(client)
    requireKnownSchema(client)
    requireNoTriggers(client)
    requireIntact(client)
  } finally {
    client.close()
  }
}

/** Copies a backup into an empty file. */
function copyBackup (backup: string, part: string, pageSize: number): void {
  const client = openReadOnly(backup)
  try {
    // Pages can only be copied to a database whose pages have the same size.
    client.pragma(`page_size = ${pageSize}`)
    client.prepare('vacuum into ?').run(part)
  } finally {
    client.close()
  }
}

/** Revokes all tokens, and deletes the codes that were mailed or handed over. */
function revoke (client: Database.Database): Pick<Restored, 'revokedTokens' | 'deletedCodes'> {
  return {
    revokedTokens: client.prepare('delete from tokens').run().changes,
    deletedCodes: client.prepare(`delete from codes where kind not in (${keptCodeKinds.map(() => '?').join()})`).run(keptCodeKinds).changes
  }
}

/** The highest id that users and events of a backup can have: an import permits less, and it leaves many for later rows, all of them safe integers. */
const idMax = 9_000_000_000_000_000

/** @throws {Error} a table or a column is missing, a row refers to another that does not exist, or no ids are left */
function requireConsistent (client: Database.Database): void {
  const db = drizzle(client)
  for (const table of Object.values(tables)) db.select().from(table).limit(1).all()
  const ids = client.prepare('select seq from sqlite_sequence union all select max(id) from users union all select max(id) from events').pluck().all()
  if (ids.some((id) => Number(id) > idMax)) throw new Error('its highest id leaves none for later rows')
  const orphans = client.pragma('foreign_key_check')
  if (Array.isArray(orphans) && orphans.length > 0) throw new Error('rows refer to rows that do not exist')
}

/** Makes a copy of a backup ready to be used: only a complete database replaces another. */
async function prepare (part: string, keepTokens: boolean) {
  const client = new Database(part, { fileMustExist: true })
  try {
    await migrate(client, noBallast)
    requireConsistent(client)
    return { client, ...keepTokens ? { revokedTokens: 0, deletedCodes: 0 } : revoke(client) }
  } catch (error) {
    client.close()
    throw error
  }
}

/**
 * Restores a database from a backup, also while servers use it: they serve the restored data
 * afterwards. Everything is prepared in a copy, which replaces the database in one transaction.
 *
 * @param name the file of the backup
 * @throws {StoreError} one line that says what is wrong; the database is as it was
 */
export async function restore (url: string, name: string, { keepTokens, event, confirm }: RestoreOptions): Promise<Restored> {
  const named = requireFile(url)
  let refusal: unknown
  try {
    if (!existsSync(name)) throw new Error('there is no such file')
    const backup = realFile(resolve(name))
    const file = lstatSync(named, { throwIfNoEntry: false }) === undefined ? resolve(named) : prepareFile(named)
    if (isSameFile(file, backup)) throw new Error('it is the database itself')
    // Before a folder is created.
    checkBackup(backup)
    const pageSize = presentPageSize(file)
    makeFolder(dirname(file))
    return await withPartFile(file, async (part) => {
      copyBackup(backup, part, pageSize)
      await handleSignals()
      const { client, ...revoked } = await prepare(part, keepTokens)
      try {
        const users = countUsers(client)
        await confirm(named, users).catch((error: unknown) => {
          refusal = error
          throw error
        })
        return { file: named, users, ...revoked, ...await replaceDatabase({ client, part, event }, file) }
      } finally {
        client.close()
      }
    })
  } catch (error) {
    if (error === refusal) throw error
    throw new StoreError(`cannot restore ${named} from ${name}: ${errorMessage(unwrapDatabaseError(error))}`, { cause: error })
  }
}
