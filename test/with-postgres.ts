// Runs a command with one PostgreSQL for all that it starts: `node --import ./test/typescript.js test/with-postgres.ts tap`.
import { spawn } from 'node:child_process'
import { createTemplate, startPostgres } from './postgres-server.js'
import { endWithUs } from './reaper.js'

const teardowns: Array<() => unknown> = []
const t = { teardown: (work: () => unknown) => { teardowns.unshift(work) } }

const adminUrl = process.env.TEST_DATABASE_URL ?? (await startPostgres(t)).url()
const template = process.env.TEST_DATABASE_TEMPLATE ?? await createTemplate(t, adminUrl)

const [command = '', ...args] = process.argv.slice(2)
const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, TEST_DATABASE_URL: adminUrl, TEST_DATABASE_TEMPLATE: template } })
const hasEnded = endWithUs(child.pid)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
const code = await new Promise<number>((resolve) => child.on('exit', (code) => resolve(code ?? 1)).on('error', (error) => {
  console.error(error)
  resolve(1)
}))
hasEnded()
for (const teardown of teardowns) await teardown()
process.exit(code)
