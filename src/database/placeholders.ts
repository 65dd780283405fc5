import { is, Placeholder } from 'drizzle-orm'

/**
 * The names of a query's placeholders, in the order of its parameters.
 *
 * @throws {TypeError} the query has parameters that are not placeholders
 */
export function placeholderNames (params: unknown[]): string[] {
  return params.map((param) => {
    if (!is(param, Placeholder)) throw new TypeError('prepareGet takes placeholders only')
    return param.name
  })
}
