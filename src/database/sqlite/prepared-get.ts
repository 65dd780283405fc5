import type Database from 'better-sqlite3'
import { Column, is, Placeholder, type SQL } from 'drizzle-orm'
import type { GetQuery, PreparedGet } from '../store.js'
import type { BatchedRead } from './batched-reads.js'

/** Maps rows as drizzle does, which examines every column again for each row. */
function createRowMapper<Row> (columns: Record<string, Column | SQL>): (values: unknown[]) => Row {
  const named = Object.entries(columns).map(([name, column]) => ({ name, decoder: is(column, Column) ? column : undefined }))
  return (values) => {
    const row: Record<string, unknown> = {}
    let i = 0
    for (const { name, decoder } of named) {
      const value = values[i++]
      row[name] = value === null || decoder === undefined ? value : decoder.mapFromDriverValue(value)
    }
    // The query that gave these columns their values is typed with them.
    return row as Row
  }
}

/**
 * Prepares a query for one row: the same query, read in a batch with others and mapped faster.
 *
 * @throws {TypeError} the query has parameters that are not placeholders
 */
export function prepareGet<Row> (client: Database.Database, batchRead: BatchedRead, columns: Record<string, Column | SQL>, query: GetQuery<Row>): PreparedGet<Row> {
  const { sql, params } = query.toSQL()
  const names = params.map((param) => {
    if (!is(param, Placeholder)) throw new TypeError('prepareGet takes placeholders only')
    return param.name
  })
  const statement = client.prepare<unknown[], unknown[]>(sql).raw()
  const mapRow = createRowMapper<Row>(columns)
  return (values) => batchRead(() => {
    const row = statement.get(names.map((name) => values[name]))
    return row && mapRow(row)
  })
}
