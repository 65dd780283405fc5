import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { listening } from './listening.js'

async function call (url, options) {
  const response = await fetch(url, options)
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${url} answered ${response.status} ${text}`)
  return text
}

async function visit (url) {
  const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: 'bob', password: 'correct horse battery staple' }) }
  await call(`${url}/api/v1/signup`, post)
  const { token } = JSON.parse(await call(`${url}/api/v1/login`, post))
  const answer = await call(`${url}/need_login`, { headers: { authorization: `Bearer ${token}` } })
  await call(`${url}/docs`)
  return answer
}

/**
 * Starts a server in an empty folder, signs up, logs in, calls the guarded route and the
 * documentation, and stops the server.
 *
 * @param args the arguments of Node
 * @returns what the guarded route answered
 * @throws {Error} an answer is not 200, or the server does not end with 0
 */
export async function visitServer (args) {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-visit-'))
  const server = spawn(process.execPath, args, { cwd: folder, env: { PATH: process.env.PATH, PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const answer = await visit(await listening(server))
    server.kill('SIGTERM')
    const [code] = await once(server, 'exit')
    if (code !== 0) throw new Error(`the server ended with ${code}`)
    return answer
  } finally {
    server.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
}
