import type pg from 'pg'
import type { Query } from '../store.js'

/** Until the batch ends, no other connection can insert a user, and so none can get an id. */
const lockUserIds: Query = { toSQL: () => ({ sql: 'lock table latchkey.users in share row exclusive mode', params: [] }) }

/** See `Store`. */
export async function lastUserId (pool: pg.Pool): Promise<number> {
  const { rows: [row] } = await pool.query('select case when is_called then last_value else 0 end as id from latchkey.users_id_seq')
  return Number(row.id)
}

/** See `Store`. */
export function claimUserIds (from: number): Query[] {
  return [
    lockUserIds,
    // To fail with a conflict: the role admin always exists, and its name is unique.
    { toSQL: () => ({ sql: "insert into latchkey.roles (name, description) select name, description from latchkey.roles where name = 'admin' and exists (select 1 from latchkey.users_id_seq where is_called and last_value >= $1)", params: [from] }) }
  ]
}

/** See `Store`. */
export function skipUserIds (upTo: number): Query[] {
  return [
    lockUserIds,
    { toSQL: () => ({ sql: "select setval('latchkey.users_id_seq', $1) from latchkey.users_id_seq where $1::bigint > last_value or ($1 = last_value and not is_called)", params: [upTo] }) }
  ]
}
