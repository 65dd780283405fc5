import { StoreError } from '../database/store-error.js'
import { errorMessage, errorStack, isNodeError } from '../lib/error-code.js'
import { describeError } from '../lib/system-error.js'
import { unwrapDatabaseError } from '../lib/unwrap-error.js'
import { ConfigError } from './config.js'

/** Node's errors of `listen`, which resolves the host name first. */
function isListenError (error: unknown): error is NodeJS.ErrnoException & { address?: string, port?: number, hostname?: string } {
  return isNodeError(error) && (error.syscall === 'listen' || error.syscall === 'getaddrinfo')
}

function explainListenError (error: NodeJS.ErrnoException & { address?: string, port?: number, hostname?: string }): string {
  if (error.code === 'EADDRINUSE') return `port ${error.port} on ${error.address} is in use`
  return `${describeError(error)}: ${error.hostname ?? `${error.address} port ${error.port ?? 0}`}`
}

/** Why the database cannot be opened, without the codes of Node. */
function explainStoreError (error: StoreError): string {
  const cause = unwrapDatabaseError(error.cause)
  return isNodeError(cause) ? error.message.replace(errorMessage(cause), describeError(cause)) : error.message
}

/**
 * Why the server or a command cannot start: one line for each problem that the operator can
 * fix; undefined for any other error.
 */
export function explainSetupError (error: unknown): string[] | undefined {
  if (error instanceof ConfigError) return error.problems
  if (error instanceof StoreError) return [explainStoreError(error)]
  if (isListenError(error)) return [`cannot listen: ${explainListenError(error)}`]
}

/** Lines for standard error, each with the name of the program. */
export function errorLines (lines: string[]): string {
  return lines.map((line) => `latchkey: ${line}\n`).join('')
}

/** Why the server did not start, for standard error: one line a problem when the operator can fix it, else the stack. */
export function explainStartupError (error: unknown): string {
  return errorLines(explainSetupError(error) ?? [errorStack(error)])
}
