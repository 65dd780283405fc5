import pg from 'pg'
import { parsePostgresUrl } from '../urls.js'
import { StoreError } from '../store-error.js'

/**
 * The modes that protect what they promise to protect. `allow` and `prefer` are left out: an
 * attacker who can listen can also make them fall back to plain text.
 * @see https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
 */
const sslModes = ['disable', 'require', 'verify-ca', 'verify-full']

/** The query parameters that a URL may have. Any other would be ignored silently, also a misspelt `sslmode`. */
const parameters = ['sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'application_name', 'host']

/**
 * The URL as the driver needs it to read `sslmode` as PostgreSQL defines it, which versions of the
 * driver do differently.
 *
 * @throws {StoreError} the URL is not one of PostgreSQL, or its parameters are not permitted
 */
export function connectionString (url: string): string {
  const parsed = parsePostgresUrl(url)
  if (parsed === undefined) throw new StoreError('this is no URL like postgres://user:password@host:port/database')
  const names = [...parsed.searchParams.keys()]
  if (!names.every((name) => parameters.includes(name)) || new Set(names).size < names.length) {
    throw new StoreError(`the URL of the database can have these parameters, each once: ${parameters.join(', ')}`)
  }
  const sslMode = parsed.searchParams.get('sslmode')
  if (sslMode === null) return url
  if (!sslModes.includes(sslMode)) throw new StoreError(`sslmode must be ${sslModes.slice(0, -1).join(', ')} or ${sslModes.at(-1)}`)
  return `${url}&uselibpqcompat=true`
}

/**
 * For the event `error` of connections and pools, which without a listener ends the process. A
 * connection that breaks rejects the queries in flight on it, and a later query gets another
 * connection or learns that there is none.
 */
export const ignoreConnectionError = () => {}

/** Does something on a connection of its own, and closes it. */
export async function withClient (config: pg.ClientConfig, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client(config)
  client.on('error', ignoreConnectionError)
  try {
    await client.connect()
    await work(client)
  } finally {
    await client.end().catch(() => {})
  }
}
