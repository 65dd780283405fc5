import { loadDriver } from '../database/open.js'
import type { Config } from './config.js'
import { requireFreePort } from './free-port.js'

/**
 * Checks what a start needs before it creates anything: the driver of the database and free ports.
 *
 * @throws {StoreError} the driver is not installed or was not built
 * @throws {Error} a port is in use, or this machine does not have an address
 */
export async function requireDriverAndPorts ({ databaseUrl, host, port, metricsHost, metricsPort }: Config): Promise<void> {
  await loadDriver(databaseUrl)
  await requireFreePort(host, port)
  if (metricsPort !== undefined) await requireFreePort(metricsHost, metricsPort)
}
