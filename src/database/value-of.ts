import { type Column, sql } from 'drizzle-orm'

/** For an `insert … select`: a value as what the select returns, in the form of a column. */
export function valueOf (value: unknown, column: Column) {
  return sql`${sql.param(value, column)}`.as(column.name)
}
