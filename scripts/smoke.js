// Starts the built server, logs in, calls the guarded route, and stops the server.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { listening } from './listening.js'
import { visit } from './visit.js'

const folder = mkdtempSync(join(tmpdir(), 'latchkey-smoke-'))
const server = spawn(process.execPath, [resolve('dist/server.cjs')], {
  cwd: folder,
  env: { PATH: process.env.PATH, PORT: '0' },
  stdio: ['ignore', 'pipe', 'inherit']
})

try {
  const url = await listening(server)
  console.log(await visit(url))
  const { status } = await fetch(`${url}/docs`)
  if (status !== 200) throw new Error(`/docs answered ${status}`)
  server.kill('SIGTERM')
  const [code] = await once(server, 'exit')
  if (code !== 0) throw new Error(`the server ended with ${code}`)
} finally {
  server.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
}
