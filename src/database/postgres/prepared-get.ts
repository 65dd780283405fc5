import type { Column, SQL } from 'drizzle-orm'
import pg from 'pg'
import { placeholderNames } from '../placeholders.js'
import { createRowMapper } from '../row-mapper.js'
import type { GetQuery, PreparedGet } from '../store.js'
import { batchReads } from './batched-reads.js'

/** The driver's parsers, but times stay text: drizzle's columns parse them in a third of the time. */
const types = new pg.TypeOverrides()
types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, (text) => text)

/** The type of a column as a cast takes it: without its collation, which the comparison takes from the column. */
function typeOf (column: Column | undefined): string {
  if (column === undefined) throw new TypeError('prepareGet takes a column for each placeholder, or none')
  return column.getSQLType().replace(/ COLLATE .*/, '')
}

/**
 * The statement that runs a query for each position of its parameters, which are arrays. Its rows
 * have one more column at their end: the position, from 1.
 *
 * @param sql a query for one row, with the parameters $1, $2 … and no other $
 * @param columnTypes the types of its parameters
 */
function batchStatement (sql: string, columnTypes: string[]): string {
  // PostgreSQL would plan again for each short array of known length. It does not know the length of a sub-select's.
  const arrays = columnTypes.map((type, i) => `(select $${i + 1}::${type}[])`)
  const names = columnTypes.map((_, i) => `p${i + 1}`)
  // The limit keeps it at one search of the indexes for each position, whatever the statistics say.
  const query = `${sql.replaceAll('$', 'keys.p')} limit 1`
  return `select found.*, keys.position from unnest(${arrays.join(', ')}) with ordinality as keys(${names.join(', ')}, position) cross join lateral (${query}) found`
}

/**
 * Prepares a query for one row: the same query, mapped faster. With `parameters`, the reads of one
 * turn of the event loop share a statement; a single read is the query itself.
 *
 * @param name the server keeps the statement prepared under it; empty: the statement is parsed each time
 * @throws {TypeError} the query has parameters that are not placeholders, or placeholders without a column
 */
export function prepareGet<Row> (pool: pg.Pool, name: string, columns: Record<string, Column | SQL>, query: GetQuery<Row>, parameters?: Record<string, Column>): PreparedGet<Row> {
  const { sql, params } = query.toSQL()
  const names = placeholderNames(params)
  const mapRow = createRowMapper<Row>(columns)
  const run = async (name: string, text: string, values: unknown[]) => {
    const { rows } = await pool.query<unknown[]>({ name, text, rowMode: 'array', types }, values)
    return rows
  }
  const getOne = async (key: unknown[]): Promise<Row | undefined> => {
    const [row] = await run(name, sql, key)
    return row && mapRow(row)
  }
  const keyOf = (values: Record<string, unknown>) => names.map((name) => values[name])
  if (parameters === undefined) return (values) => getOne(keyOf(values))

  const batch = batchStatement(sql, names.map((name) => typeOf(parameters[name])))
  const get = batchReads(async (keys) => {
    const [first, second] = keys
    if (first !== undefined && second === undefined) return [await getOne(first)]
    const found: Array<Row | undefined> = Array.from(keys, () => undefined)
    for (const row of await run(name && `${name}_batch`, batch, names.map((_, i) => keys.map((key) => key[i])))) found[Number(row.at(-1)) - 1] = mapRow(row)
    return found
  })
  return (values) => get(keyOf(values))
}
