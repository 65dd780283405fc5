// Writes the code cache of the bundle: a server starts, serves the requests of a user, and ends.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { listening } from './listening.js'
import { visit } from './visit.js'

const folder = mkdtempSync(join(tmpdir(), 'latchkey-code-cache-'))
const record = `require(${JSON.stringify(resolve('dist/standalone/load-programs.cjs'))}).recordCodeCache().startServer()`
const server = spawn(process.execPath, ['--eval', record], { cwd: folder, env: { PATH: process.env.PATH, PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] })
try {
  await visit(await listening(server))
  server.kill('SIGTERM')
  await once(server, 'exit')
} catch (error) {
  // Where no server can run, as without the native packages, a build is complete without it.
  console.warn(`no code cache was written, so that programs start more slowly: ${error.message}`)
} finally {
  server.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
}
