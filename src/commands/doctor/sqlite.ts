import { existsSync, statSync } from 'node:fs'
import type Database from 'better-sqlite3'
import { effectiveUser, realFile } from '../../lib/new-file.js'
import { printable } from '../../lib/printable.js'
import { fileOf, inMemory } from '../../database/sqlite/file.js'
import { appliedMigrations } from '../../database/sqlite/known-schema.js'
import { migrationTimes } from '../../database/sqlite/migrate.js'
import { queryBuilder } from '../../database/sqlite/open.js'
import { isWalFile, openWithoutWriting } from '../../database/sqlite/read-only.js'
import * as tables from '../../database/sqlite/schema.js'
import { checkBackups } from './backups.js'
import { errorLine, failure, type Finding, ok, warning } from './check.js'
import type { DatabaseKind, Reading } from './reading.js'
import { checkAccess, checkLogSize, checkReserve, checkSpace } from './sqlite-files.js'

const mebibyte = 1_048_576

/** The largest database that is read from its beginning to its end, in bytes: that takes up to some 4 s, and cannot be interrupted. */
const examinedMaxBytes = 512 * mebibyte

/** What keeps a database from being read from its beginning to its end; undefined when nothing does. */
function sizeProblem (client: Pick<Database.Database, 'pragma'>, maxBytes: number): string | undefined {
  const bytes = Number(client.pragma('page_count', { simple: true })) * Number(client.pragma('page_size', { simple: true }))
  if (bytes > maxBytes) return `${Math.round(bytes / mebibyte)} MiB take too long to be examined`
}

const damageAdvice = 'stop the server, keep a copy of the file with its -wal, and restore a backup: latchkey restore <file>'

/** Whether no page of a database is damaged. */
export function checkPages (client: Pick<Database.Database, 'pragma'>, maxBytes = examinedMaxBytes): Finding {
  const problem = sizeProblem(client, maxBytes)
  if (problem !== undefined) return warning(problem, 'run latchkey backup: it examines every page of its copy')
  let answer: unknown
  try {
    answer = client.pragma('quick_check(1)', { simple: true })
  } catch (error) {
    answer = errorLine(error)
  }
  return answer === 'ok' ? ok('no page is damaged') : failure(`the database is damaged: ${printable(String(answer))}`, damageAdvice)
}

/** How many rows of each table refer to rows that do not exist. */
export function checkForeignKeys (client: Database.Database, maxBytes = examinedMaxBytes): Finding {
  const problem = sizeProblem(client, maxBytes)
  if (problem !== undefined) return warning(problem, 'restore the newest backup to another DATABASE_URL: latchkey restore refuses one with such rows')
  const orphans = client.prepare<[], { table: string, rows: number }>('select "table", count(*) as rows from pragma_foreign_key_check group by 1 order by 1').all()
  if (orphans.length === 0) return ok('no row refers to a row that does not exist')
  return failure(`rows refer to rows that do not exist: ${orphans.map(({ table, rows }) => `${rows} in ${table}`).join(', ')}`, 'something other than Latchkey has changed the database: restore a backup, or delete these rows')
}

/** Whether ids of deleted rows can be given again: SQLite records the highest id of each table. */
function checkSequences (client: Database.Database): Finding {
  const behind = ['users', 'events'].filter((table) => client.prepare(`select coalesce(max(id), 0) > coalesce((select max(seq) from sqlite_sequence where name = '${table}'), 0) from ${table}`).pluck().get() === 1)
  return behind.length === 0 ? ok('no id can be given again') : failure(`the record of the highest id is behind the rows of ${behind.join(' and ')}: ids can be given again`, 'something other than Latchkey has changed the database: restore a backup')
}

/** Whether this build of SQLite waits for the disk where it is told to. */
export function checkDurability (client: Pick<Database.Database, 'pragma'>): Finding {
  const levels = [['full', 2], ['normal', 1]] as const
  const isHonoured = levels.every(([name, level]) => {
    client.pragma(`synchronous = ${name}`)
    return client.pragma('synchronous', { simple: true }) === level
  })
  return isHonoured ? ok('acknowledged writes survive a power cut') : failure('this build of SQLite does not wait for the disk', 'install the package better-sqlite3 as it is published')
}

function checkJournal (file: string): Finding {
  return isWalFile(file) ? ok('readers and a writer do not block each other (WAL)') : warning('the database is not in WAL mode', 'the next start of the server sets it; if it stays so, the file system does not support it: move the database to a local disk')
}

/** A SQLite database that is open for reading. */
interface SqliteReading extends Reading {
  client: Database.Database
  /** Its file, with symbolic links resolved. */
  path: string
}

/** Opens a SQLite database to be examined. @throws {Error} it cannot be read */
function openFile (path: string): SqliteReading {
  const client = openWithoutWriting(path)
  try {
    const applied = appliedMigrations(client)
    if (applied.length === 0) throw new Error('it is not a database of Latchkey')
    return {
      client,
      path,
      db: queryBuilder(client),
      tables,
      schema: { known: migrationTimes(), applied },
      attempt: (work) => work(),
      close: () => client.close()
    }
  } catch (error) {
    client.close()
    throw error
  }
}

/** How a SQLite database is examined. */
export const sqlite: DatabaseKind<SqliteReading> = {
  async open ({ databaseUrl }) {
    const name = fileOf(databaseUrl)
    if (name === inMemory) return { finding: warning('the database is in memory: everything is lost when the server ends', 'set DATABASE_URL to a file') }
    if (!existsSync(name)) return { finding: failure(`there is no database ${name}`, 'check DATABASE_URL and the working folder; the first start of the server, or latchkey migrate, creates it') }
    let file: string | undefined
    try {
      file = realFile(name)
      return { finding: ok(`${name} can be read (${statSync(file).size} bytes)`), file, reading: openFile(file) }
    } catch (error) {
      return { finding: failure(`the database ${name} cannot be read: ${errorLine(error)}`, 'check DATABASE_URL; if the file is damaged, restore a backup: latchkey restore <file>'), file }
    }
  },
  checks: [
    { name: 'integrity', run: ({ client }) => checkPages(client) },
    { name: 'foreign-keys', run: ({ client }) => checkForeignKeys(client) },
    { name: 'sequences', run: ({ client }) => checkSequences(client) },
    { name: 'journal-mode', run: ({ path }) => checkJournal(path) },
    { name: 'durability', run: ({ client }) => checkDurability(client) }
  ],
  fileChecks: [
    { name: 'write-ahead-log', run: checkLogSize },
    { name: 'file-access', run: (file) => checkAccess(file, effectiveUser()) },
    { name: 'disk-space', run: checkSpace },
    { name: 'reserve', run: checkReserve },
    { name: 'backup', run: checkBackups }
  ]
}
