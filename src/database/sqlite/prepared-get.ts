import type Database from 'better-sqlite3'
import { Column, is, Placeholder, type SQL } from 'drizzle-orm'
import type { PreparedGet, GetQuery } from '../store.js'
import type { BatchedRead } from './batched-reads.js'

/** Makes rows as drizzle does, which looks at every column's place and kind anew for each row. */
function createRowMapper<Row> (columns: Record<string, Column | SQL>): (values: unknown[]) => Row {
  const named = Object.entries(columns).map(([name, column]) => ({ name, decoder: is(column, Column) ? column : undefined }))
  return (values) => {
    const row = Object({})
    let i = 0
    for (const { name, decoder } of named) {
      const value = values[i++]
      row[name] = value === null || decoder === undefined ? value : decoder.mapFromDriverValue(value)
    }
    return row
  }
}

/** Prepares a look-up: the same query, whose row is read together with those of others and made with less ado. */
export function prepareGet<Row> (client: Database.Database, together: BatchedRead, columns: Record<string, Column | SQL>, query: GetQuery<Row>): PreparedGet<Row> {
  const { sql, params } = query.toSQL()
  const names = params.map((param) => {
    if (!is(param, Placeholder)) throw new TypeError('a look-up has nothing but placeholders')
    return param.name
  })
  const statement = client.prepare<unknown[], unknown[]>(sql).raw()
  const mapRow = createRowMapper<Row>(columns)
  return (values) => together(() => {
    const row = statement.get(names.map((name) => Reflect.get(values, name)))
    return row && mapRow(row)
  })
}
