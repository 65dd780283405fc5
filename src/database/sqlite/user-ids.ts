import type Database from 'better-sqlite3'
import type { Query } from '../store.js'

/** The ids that AUTOINCREMENT has given, as SQLite records them. @see https://www.sqlite.org/autoinc.html */
const userSequence = "from sqlite_sequence where name = 'users'"

/** See `Store`. */
export function lastUserId (client: Database.Database): number {
  return Number(client.prepare(`select coalesce(max(seq), 0) ${userSequence}`).pluck().get())
}

/** See `Store`. */
export function claimUserIds (from: number): Query[] {
  return [
    // The role admin always exists: a second one is the conflict.
    { toSQL: () => ({ sql: `insert into roles (name, description) select name, description from roles where name = 'admin' and exists (select 1 ${userSequence} and seq >= ?)`, params: [from] }) }
  ]
}

/** See `Store`. */
export function skipUserIds (upTo: number): Query[] {
  return [
    { toSQL: () => ({ sql: `insert into sqlite_sequence (name, seq) select 'users', 0 where not exists (select 1 ${userSequence})`, params: [] }) },
    { toSQL: () => ({ sql: "update sqlite_sequence set seq = max(seq, ?) where name = 'users'", params: [upTo] }) }
  ]
}
