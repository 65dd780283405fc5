import { createRequire } from 'node:module'
import { failure, type Finding, ok, warning } from './check.js'

/** The last day of each long-term line of Node. @see https://github.com/nodejs/release#release-schedule */
const endsOfLife: Record<number, string> = {
  18: '2025-04-30',
  20: '2026-04-30',
  22: '2027-04-30',
  24: '2028-04-30'
}

/** The first line of Node whose releases abort the process when they free a statement of better-sqlite3 12. */
const abortsFrom = 24
const abortingDriver = 12

/** The installed version of better-sqlite3, without loading it. */
export function installedDriver (): string {
  // A file of the package, whose type is our own.
  const { version }: { version: string } = createRequire(import.meta.url)('better-sqlite3/package.json')
  return version
}

/** Whether this Node cannot use this better-sqlite3. */
export function isAborting (node: string, driver: string): boolean {
  return Number.parseInt(node) >= abortsFrom && Number.parseInt(driver) === abortingDriver
}

/**
 * Whether Node gets security fixes, and can use the driver of SQLite.
 *
 * @param node the version of Node, such as `22.12.0`
 * @param driver the version of better-sqlite3; undefined on PostgreSQL
 * @param nowMs the time, in milliseconds since 1970
 */
export function checkNode (node: string, driver: string | undefined, nowMs: number): Finding {
  if (driver !== undefined && isAborting(node, driver)) return failure(`Node ${node} aborts the process when it frees a statement of better-sqlite3 ${driver}`, 'use Node 22')
  const endOfLife = endsOfLife[Number.parseInt(node)]
  if (endOfLife !== undefined && nowMs > Date.parse(endOfLife)) return warning(`Node ${node} has had no security fixes since ${endOfLife}`, 'use Node 22')
  return ok(`Node ${node}${endOfLife === undefined ? '' : ` gets security fixes until ${endOfLife}`}`)
}
