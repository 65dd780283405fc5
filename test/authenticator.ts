import { createHmac } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { asUser, type TestUser } from '../src/testing.js'
import { bob, logIn } from './helper.js'

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** The bytes of base32 (RFC 4648, section 6). */
function decodeBase32 (text: string): Buffer {
  const bits = Array.from(text, (character) => alphabet.indexOf(character).toString(2).padStart(5, '0')).join('')
  return Buffer.from(bits.match(/.{8}/g)?.map((byte) => parseInt(byte, 2)) ?? [])
}

/** The code that an authenticator app shows: RFC 6238 and RFC 4226, section 5.3, as they are written. */
export function totp (secret: Buffer, timeMs: number): string {
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(Math.floor(timeMs / 30_000)))
  const mac = createHmac('sha1', secret).update(counter).digest()
  const offset = Number(mac.at(-1)) & 0xf
  return String((mac.readUInt32BE(offset) & 0x7fff_ffff) % 1_000_000).padStart(6, '0')
}

/** The same for a secret in base32. */
export const codeOf = (secret: string, timeMs: number) => totp(decodeBase32(secret), timeMs)

/** A user whose second factor is on. */
export interface Enrolled extends TestUser {
  recoveryCodes: string[]
  /** The secret in base32, and the code that switched it on. */
  secret: string
  firstCode: string
  /** The code that the app shows at a time. */
  codeAt: (timeMs: number) => string
  logIn: (code?: unknown, password?: string) => ReturnType<typeof logIn>
}

/** Switches the second factor of a user on, with the code of a time. */
export async function enable (app: FastifyInstance, user: TestUser, timeMs: number, present?: string): Promise<Enrolled> {
  const { username } = user.user
  const asked = await user.inject({ method: 'POST', url: '/api/v1/me/second-factor', payload: { password: bob.password, code: present } })
  const { secret, enrolment } = asked.json()
  const codeAt = (timeMs: number) => codeOf(secret, timeMs)
  const firstCode = codeAt(timeMs)
  const enabled = await user.inject({ method: 'PUT', url: '/api/v1/me/second-factor', payload: { enrolment, code: firstCode } })
  if (enabled.statusCode !== 200) throw new Error(`${asked.body} ${enabled.body}`)
  return { ...user, secret, firstCode, recoveryCodes: enabled.json().recovery_codes, codeAt, logIn: (code, password = bob.password) => logIn(app, { username, password, code }) }
}

/** Creates a user whose second factor is on. */
export async function enrolled (app: FastifyInstance, username: string, timeMs: number, options: Parameters<typeof asUser>[2] = {}): Promise<Enrolled> {
  return await enable(app, await asUser(app, username, { password: bob.password, ...options }), timeMs)
}
