import { createHmac, randomBytes } from 'node:crypto'
import { hash } from '@node-rs/argon2'
import type { Request } from 'autocannon'

/** Signs every token of the run. */
export const secretKey = randomBytes(32).toString('base64url')

/** Everybody's. */
export const password = 'correct horse battery staple'

/** Its hash, with the parameters that Latchkey uses: argon2id, 19 MiB, 2 passes, 1 lane. */
export const passwordHash = await hash(password, { memoryCost: 19_456, timeCost: 2, parallelism: 1 })

/** How long a token lives, in seconds: Latchkey's default. */
export const tokenTtlSeconds = 172_800

/** When all tokens were made, in milliseconds since 1970. */
export const createdAtMs = Date.now()

/** The name of the user with an id. */
export const usernameOf = (id: number) => `user${id}`

/** A row that a token names. */
export interface TokenRow {
  id: string
  userId: number
}

const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** The token whose row this is, as Latchkey would have signed it. */
export function signToken ({ id, userId }: TokenRow): string {
  const iat = Math.floor(createdAtMs / 1_000)
  const content = `${base64url({ alg: 'HS256', typ: 'JWT' })}.${base64url({ user_id: userId, jti: id, iat, exp: iat + tokenTtlSeconds })}`
  return `${content}.${createHmac('sha256', secretKey).update(content).digest('base64url')}`
}

/** The login of each of these users. */
export function logins (userIds: number[]): Request[] {
  return userIds.map((id) => ({
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username: usernameOf(id), password })
  }))
}
