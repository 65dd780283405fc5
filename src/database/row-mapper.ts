import { Column, is, type SQL } from 'drizzle-orm'

/**
 * Maps rows as drizzle does, which examines every column again for each row.
 *
 * @param columns the columns that a query selects, in the same order
 * @returns makes a row of the driver's values; values after the last column are left out
 */
export function createRowMapper<Row> (columns: Record<string, Column | SQL>): (values: unknown[]) => Row {
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
