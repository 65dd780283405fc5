import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Request } from 'autocannon'
import { killAtExit } from './cleanup.js'
import { password, secretKey } from './fixtures.js'
import { type ServerProcess, startServer } from './processes.js'
import { progress } from './progress.js'

// better-auth is no dependency of the project: bench/peers has a package of its own.

const folder = join(import.meta.dirname, 'peers')
const installDeadlineMs = 120_000

/** The name of better-auth with its defaults. */
export const betterAuth = 'Fastify, better-auth, better-sqlite3'
/** The name of its logins: its hash is another one than argon2id, so that no ratio is shown. */
export const betterAuthLogin = 'better-auth: sign-in, with its own hash, scrypt (N 16384, r 16, p 1)'
/** Its route for logins. */
export const signInPath = '/api/auth/sign-in/email'

/** Installs better-auth in `bench/peers`. Returns false, and says so, if that fails: npm needs the registry. */
export async function installBetterAuth (): Promise<boolean> {
  progress('installing better-auth in bench/peers')
  const child = spawn('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--fetch-retries=0'], { cwd: folder, stdio: ['ignore', 2, 2], timeout: installDeadlineMs })
  killAtExit(child)
  const [code] = await once(child, 'close')
  if (code !== 0) progress('skipping better-auth: npm cannot install it')
  return code === 0
}

/** Starts better-auth with an empty database and signs users up. */
export function startBetterAuth (users: number): Promise<ServerProcess> {
  return startServer('bench/peers/better-auth.js', { NODE_ENV: 'production', SECRET_KEY: secretKey, USERS: String(users), PASSWORD: password })
}

/** The login requests of its users, from a page of the same origin: better-auth checks that. */
export function signIns ({ url }: ServerProcess, users: number) {
  return Array.from({ length: users }, (_, i) => ({
    method: 'POST' as const,
    headers: { 'content-type': 'application/json', origin: url },
    body: JSON.stringify({ email: `user${i + 1}@example.com`, password })
  }))
}

/** Logs the first user in, and returns a request with the cookie of the session. */
export async function withSession (server: ServerProcess): Promise<Request> {
  const [login] = signIns(server, 1)
  const response = await fetch(server.url + signInPath, login)
  if (!response.ok) throw new Error(`POST ${signInPath} answers ${response.status} ${await response.text()}`)
  const cookie = response.headers.getSetCookie().map((header) => header.split(';', 1)[0]).join('; ')
  return { headers: { cookie } }
}
