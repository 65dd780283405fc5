import { getTableName } from 'drizzle-orm'
import type pg from 'pg'
import { explain, queryBuilder } from '../../database/postgres/open.js'
import { appliedMigrations, hasIsoTimes, hasTables, isUnicode, migrationTimes } from '../../database/postgres/migrate.js'
import { ignoreConnectionError } from '../../database/postgres/connection.js'
import { connectReadOnly, withSavepoint } from '../../database/postgres/read-only.js'
import * as schema from '../../database/postgres/schema.js'
import { printableUrl } from '../../database/urls.js'
import { failure, type Finding, ok, skipped, warning } from './check.js'
import type { DatabaseKind, Reading } from './reading.js'

const { latchkey, ...tables } = schema

/** The oldest server whose features suffice, as `server_version_num` says it. */
const oldestVersion = 110_000

/** How far the clocks may be apart, in milliseconds. */
const clockToleranceMs = 5_000

/** The rights that a server needs, as the documentation grants them. */
const tablePrivileges = ['select', 'insert', 'update', 'delete']
const sequences = ['users_id_seq', 'events_id_seq']
const sequencePrivileges = ['usage', 'select', 'update']

/** Whether a server is recent enough. */
export function checkVersion (version: number): Finding {
  const major = Math.floor(version / 10_000)
  return version >= oldestVersion ? ok(`PostgreSQL ${major}`) : failure(`PostgreSQL ${major} is too old`, 'use 11 or newer')
}

/** Whether the clocks of this machine and of the server agree. */
async function checkClock (client: pg.Client): Promise<Finding> {
  const before = Date.now()
  const { rows: [row] } = await client.query('select extract(epoch from clock_timestamp()) * 1000 as ms')
  const differenceMs = Math.abs(Number(row.ms) - (before + Date.now()) / 2)
  return differenceMs <= clockToleranceMs ? ok('the clocks of this machine and of the database agree') : warning(`the clocks of this machine and of the database are ${Math.round(differenceMs / 1_000)} s apart`, 'set both by NTP')
}

/** Whether every foreign key holds for all rows. */
async function checkForeignKeys (client: pg.Client): Promise<Finding> {
  const { rows } = await client.query('select conname from pg_constraint where connamespace = $1::regnamespace and contype = $2 and not convalidated order by 1', [latchkey.schemaName, 'f'])
  return rows.length === 0 ? ok('every foreign key is validated') : failure(`foreign keys are not validated: ${rows.map((row) => row.conname).join(', ')}`, 'run alter table … validate constraint …, and delete the rows that it names')
}

/** Which of some rights the role does not have. */
async function missingPrivileges (client: pg.Client, kind: 'table' | 'sequence', names: string[], privileges: string[]): Promise<string[]> {
  const { rows } = await client.query(`select p || ' on ' || n as missing from unnest($1::text[]) n, unnest($2::text[]) p where not has_${kind}_privilege(n, p) order by n, p`, [names.map((name) => `${latchkey.schemaName}.${name}`), privileges])
  return rows.map((row) => row.missing)
}

/** Whether the role has the rights of a server. */
async function checkPrivileges (client: pg.Client): Promise<Finding> {
  const missing = [
    ...await missingPrivileges(client, 'table', Object.values(tables).map((table) => getTableName(table)), tablePrivileges),
    ...await missingPrivileges(client, 'sequence', sequences, sequencePrivileges)
  ]
  return missing.length === 0 ? ok('the role has all rights of a server') : failure(`the role lacks ${missing.join(', ')}`, 'grant them as docs/postgresql.md says')
}

/** What keeps Latchkey from using a database; undefined where nothing does. */
async function problemOf (client: pg.Client): Promise<string | undefined> {
  if (!(await isUnicode(client))) return 'its encoding must be UTF8'
  if (!(await hasIsoTimes(client))) return 'its DateStyle must be ISO'
  return await hasTables(client) ? undefined : 'it has no Latchkey in it'
}

/** A PostgreSQL database that is open for reading. */
interface PostgresReading extends Reading { client: pg.Client }

/** Looks into a database. @throws {Error} Latchkey cannot use it */
async function readingOf (client: pg.Client): Promise<PostgresReading> {
  const problem = await problemOf(client)
  if (problem !== undefined) throw new Error(problem)
  return {
    client,
    db: queryBuilder(client),
    // As in the store: the same tables and columns as in SQLite's schema.
    tables: tables as unknown as Reading['tables'],
    schema: { known: migrationTimes(), applied: await appliedMigrations(client) },
    attempt: (work) => withSavepoint(client, work),
    close: () => client.end().catch(ignoreConnectionError)
  }
}

/** How a PostgreSQL database is examined. */
export const postgres: DatabaseKind<PostgresReading> = {
  async open ({ databaseUrl, databaseConnectTimeoutMs, databasePrepare }) {
    const url = printableUrl(databaseUrl)
    let client: pg.Client | undefined
    try {
      client = await connectReadOnly(databaseUrl, { connectTimeoutMs: databaseConnectTimeoutMs, preparesStatements: databasePrepare === 'on' })
      return { finding: ok(`${url} answers`), reading: await readingOf(client) }
    } catch (error) {
      await client?.end()
      return { finding: failure(`the database ${url} cannot be read: ${explain(error)}`, 'check DATABASE_URL, and whether the server runs and lets this role in; the first start of Latchkey, or latchkey migrate, creates the tables') }
    }
  },
  checks: [
    { name: 'database-version', run: async ({ client }) => checkVersion(Number((await client.query('show server_version_num')).rows[0].server_version_num)) },
    { name: 'database-clock', run: ({ client }) => checkClock(client) },
    { name: 'foreign-keys', run: ({ client }) => checkForeignKeys(client) },
    { name: 'privileges', run: ({ client }) => checkPrivileges(client) },
    { name: 'backup', run: () => skipped('PostgreSQL is backed up with its own tools: look at the newest dump of pg_dump (docs/operation.md)') }
  ],
  fileChecks: []
}
