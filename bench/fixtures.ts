import { createHmac, randomBytes } from 'node:crypto'
import { hash } from '@node-rs/argon2'
import type { Request } from 'autocannon'

/** The key that signs all tokens of the run. */
export const secretKey = randomBytes(32).toString('base64url')

/** The password of every user. */
export const password = 'correct horse battery staple'

/** The hash of the password with Latchkey's parameters: argon2id, 19 MiB, 2 passes, 1 lane. */
export const passwordHash = await hash(password, { memoryCost: 19_456, timeCost: 2, parallelism: 1 })

/** The lifetime of a token, in seconds: Latchkey's default. */
export const tokenTtlSeconds = 172_800

/** When all tokens were created, in milliseconds since 1970. */
export const createdAtMs = Date.now()

/** The username of a user id. */
export const usernameOf = (id: number) => `user${id}`

/** The row of a token. */
export interface TokenRow {
  id: string
  userId: number
}

const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Signs the token of a row as Latchkey does. */
export function signToken ({ id, userId }: TokenRow): string {
  const iat = Math.floor(createdAtMs / 1_000)
  const content = `${base64url({ alg: 'HS256', typ: 'JWT' })}.${base64url({ user_id: userId, jti: id, iat, exp: iat + tokenTtlSeconds })}`
  return `${content}.${createHmac('sha256', secretKey).update(content).digest('base64url')}`
}

/** One login request per user. */
export function logins (userIds: number[]): Request[] {
  return userIds.map((id) => ({
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username: usernameOf(id), password })
  }))
}
