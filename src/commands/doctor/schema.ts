import { failure, type Finding, ok, warning } from './check.js'

/** Whether a database has the schema of this program. */
export interface SchemaState {
  /** The times of the migrations that this program has, the oldest first. */
  known: number[]
  /** Those of the migrations that the database has. */
  applied: number[]
}

/** Compares the schema of a database with that of this program. */
export function checkSchema ({ known, applied }: SchemaState): Finding {
  if (!applied.every((time) => known.includes(time))) return failure('a newer version of Latchkey has migrated the database', 'use that version, or restore a backup')
  const pending = known.filter((time) => time > Math.max(...applied)).length
  return pending === 0 ? ok('the schema is that of this version') : warning(`migrations are pending: ${pending}`, 'the next start of the server, or latchkey migrate, applies them; back up first')
}
