import { STATUS_CODES } from 'node:http'

/** The name of an error status; an unknown one counts as 400 or 500 (RFC 9110, section 15). */
export function statusText (statusCode: number): string {
  return String(STATUS_CODES[statusCode] ?? STATUS_CODES[statusCode < 500 ? 400 : 500])
}
