import { StoreError } from '../database/store.js'
import { errorStack, isNodeError } from '../lib/error-code.js'
import { ConfigError } from './config.js'

/** Node's errors of `listen`, which resolves the host name first. */
function isListenError (error: unknown): error is NodeJS.ErrnoException & { address?: string, port?: number } {
  return isNodeError(error) && (error.syscall === 'listen' || error.syscall === 'getaddrinfo')
}

/** Why the server did not start: one line when the operator can fix it, else the stack. */
export function explainStartupError (error: unknown): string {
  if (error instanceof ConfigError || error instanceof StoreError) return error.message
  if (!isListenError(error)) return errorStack(error)
  return `cannot listen: ${error.code === 'EADDRINUSE' ? `port ${error.port} on ${error.address} is in use` : error.message}`
}
