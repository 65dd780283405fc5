import pg from 'pg'
import type { StoreOptions } from '../store.js'
import { parametersOf } from '../urls.js'
import { ChannelBindingClient } from './channel-binding.js'

/** How to connect: the driver's settings, and the class of its connections. */
export interface ConnectionConfig extends pg.ClientConfig {
  Client: typeof pg.Client
}

/**
 * How to connect to the database of a URL. `sslmode` means what PostgreSQL defines, which versions
 * of the driver do differently. `channel_binding` is `disable` by default, `connect_timeout`
 * (seconds) replaces `connectTimeoutMs`. Without prepared statements nothing is sent that a pooler
 * refuses when a connection begins.
 *
 * @param url one in which `databaseUrlProblem` finds no problem
 */
export function connectionConfig (url: string, { connectTimeoutMs, preparesStatements = true }: Pick<StoreOptions, 'connectTimeoutMs' | 'preparesStatements'>): ConnectionConfig {
  const parameters = parametersOf(url)
  const connectTimeout = parameters.get('connect_timeout')
  const channelBinding = parameters.get('channel_binding') ?? 'disable'
  return {
    connectionString: parameters.has('sslmode') ? `${url}&uselibpqcompat=true` : url,
    connectionTimeoutMillis: connectTimeout === null ? connectTimeoutMs : Number(connectTimeout) * 1_000,
    enableChannelBinding: channelBinding !== 'disable',
    Client: channelBinding === 'require' ? ChannelBindingClient : pg.Client,
    keepAlive: true,
    fallback_application_name: 'latchkey',
    // The driver can parse times in this style, whatever the database or the role prefers.
    ...preparesStatements && { options: '-c datestyle=ISO' }
  }
}

/**
 * For the event `error` of connections and pools, which without a listener ends the process. A
 * connection that breaks rejects the queries in flight on it, and a later query gets another
 * connection or learns that there is none.
 */
export const ignoreConnectionError = () => {}

/** Does something on a connection of its own, and closes it. */
export async function withClient ({ Client, ...config }: ConnectionConfig, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new Client(config)
  client.on('error', ignoreConnectionError)
  try {
    await client.connect()
    await work(client)
  } finally {
    await client.end().catch(() => {})
  }
}
