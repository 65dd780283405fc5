import type { Test } from 'tap'
import { newName, on, run, type SharedPostgres, withClient } from './postgres-server.js'

// To copy a database takes longer than most tests. So a test that leaves the tables as they were
// leaves its database to the next one, without the rows.

/** What tests may change besides rows, as text: tables, columns, triggers, functions, settings, statistics. */
const fingerprint = `
  with ours as (select oid, relname from pg_class where relnamespace in (select oid from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'))
  select md5(string_agg(line, ' ' order by line)) as fingerprint, (select coalesce(sum(pg_relation_size(oid)), 0) from ours) < 4000000 as "isSmall" from (
    select format('%s.%s %s %s', relname, attname, atttypid, attnotnull) as line from pg_attribute join ours on attrelid = ours.oid where attnum > 0 and not attisdropped
    union all select format('%s %s %s', relname, tgname, tgenabled) from pg_trigger join ours on tgrelid = ours.oid where not tgisinternal
    union all select proname::text from pg_proc where pronamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    union all select format('%s %s', conname, conrelid) from pg_constraint where connamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    union all select nspname::text || coalesce(nspacl::text, '') from pg_namespace
    union all select setconfig::text from pg_db_role_setting join pg_database on pg_database.oid = setdatabase where datname = current_database()
    union all select hash from drizzle.latchkey_migrations
    union all select tablename::text || attname from pg_stats where schemaname = 'latchkey'
  ) lines`

const deleteRows = `
  do $$
  declare relation text;
  begin
    delete from latchkey.users;
    delete from latchkey.roles where name <> 'admin';
    for relation in select tablename from pg_tables where schemaname = 'latchkey' and tablename not in ('users', 'roles') loop
      execute format('delete from latchkey.%I', relation);
    end loop;
    for relation in select sequencename from pg_sequences where schemaname = 'latchkey' loop
      perform setval(format('latchkey.%I', relation), 1, false);
    end loop;
  end $$`

/** Databases with the rows that a new one has. */
const clean: string[] = []
let original: string | undefined

const lockNotAvailable = '55P03'
class ResetFailed extends Error {}

/** Deletes the rows of a database; false where the test has changed more than rows, or still uses it. */
async function reset (url: string): Promise<boolean> {
  return await withClient(url, async (client) => {
    const { rows: [found] } = await client.query(fingerprint)
    if (found.fingerprint !== original || !found.isSmall) return false
    await client.query("set lock_timeout to '2s'")
    await client.query(deleteRows).catch((error) => { throw error.code === lockNotAvailable ? error : new ResetFailed(error.message) })
    return true
  }).catch((error) => {
    // Every other error is what a test has done to its database.
    if (error instanceof ResetFailed) throw error
    return false
  })
}

/** A migrated database without rows, of an earlier test or new. It is left to others when the test ends. */
export async function reusedDatabase (t: Test, root: Pick<Test, 'teardown'>, { adminUrl, template }: SharedPostgres): Promise<string> {
  let name = clean.pop()
  if (name === undefined) {
    const created = newName()
    // Copying the files takes a tenth of the time that copying them through the log takes.
    await run(adminUrl, `create database ${created} template ${template} strategy file_copy`)
    root.teardown(() => run(adminUrl, `drop database if exists ${created} with (force)`))
    original ??= await withClient(on(adminUrl, created), async (client) => (await client.query(fingerprint)).rows[0].fingerprint)
    name = created
  }
  const url = on(adminUrl, name)
  const used = name
  t.teardown(async () => {
    if (await reset(url)) clean.push(used)
    else await run(adminUrl, `drop database ${used} with (force)`)
  })
  return url
}
