import { STATUS_CODES } from 'node:http'

/** A message is a sentence, not what was sent. */
const messageMaxLength = 300

/** The code of a failure; undefined when it does not have the shape that all failures have. */
export function errorCode (status: number, headers: Record<string, unknown>, body: string): string | undefined {
  const isJson = headers['content-type'] === 'application/json; charset=utf-8'
  const error: Record<string, unknown> = isJson ? JSON.parse(body) : {}
  const { statusCode, code, error: name, message, errors, ...others } = error
  const isOurs = statusCode === status && name === STATUS_CODES[status] && typeof code === 'string' && /^[A-Z_]+$/.test(code) &&
    typeof message === 'string' && message.length < messageMaxLength && (errors === undefined || Array.isArray(errors)) && Object.keys(others).length === 0
  // RFC 9110, section 15.5.2.
  const hasChallenge = status !== 401 || String(headers['www-authenticate']).startsWith('Bearer')
  return isOurs && hasChallenge ? code : undefined
}
