import { buildApp } from './app.js'
import { loadEnvironment } from './standalone/environment.js'
import { logDestination } from './standalone/log-destination.js'
import { requireDriverAndPorts } from './standalone/start-checks.js'
import { explainStartupError } from './standalone/startup-error.js'

/** The server then closes the connections that are still open. The process ends within 10 s of the signal. */
const closeConnectionsAfterMs = 6_000
/** The process then ends, even if closing hangs. */
const exitAfterMs = 7_000

/** A proxy that is about to use an idle connection, when the signal comes, still gets its answer. */
const idleGraceMs = 500

const destination = logDestination(process.stdout.fd)
process.on('exit', destination.flushSync)

async function serve (): Promise<void> {
  // Nothing is created on disk, neither a key nor a database, before this is known to be a start that can succeed.
  const checked = loadEnvironment(process.env, '.env', { missingKey: 'ignore' })
  await requireDriverAndPorts(checked.config)
  const { config, isSecretKeyNew, warnings } = checked.hasSecretKey ? checked : loadEnvironment(process.env)
  // A terminal gets colours, a program gets JSON.
  const logStream = process.stdout.isTTY ? (await import('pino-pretty')).default({ sync: true }) : destination
  const app = await buildApp(config, { logStream, idleGraceMs })
  for (const warning of warnings) app.log.warn(warning)
  if (isSecretKeyNew) {
    const others = config.databaseUrl.startsWith('sqlite:') ? '' : ': every other server on this database needs the same'
    app.log.info(`there was no SECRET_KEY: a new one was made and kept in .env${others}`)
  }

  let exitCode = 0
  let isClosing = false
  const close = (code: number) => {
    exitCode = Math.max(exitCode, code)
    if (isClosing) return
    isClosing = true
    const closeTimer = setTimeout(() => app.server.closeAllConnections(), closeConnectionsAfterMs)
    const exitTimer = setTimeout(() => process.exit(1), exitAfterMs)
    app.close().then(() => app.log.info('closed'), (error) => {
      exitCode = 1
      app.log.fatal({ err: error }, 'closing failed')
    }).finally(() => {
      clearTimeout(closeTimer)
      clearTimeout(exitTimer)
      process.exit(exitCode)
    })
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      app.log.info({ signal }, 'closing: finishing the requests in flight')
      close(0)
    })
  }
  process.on('uncaughtException', (error) => {
    app.log.fatal({ err: error }, 'uncaught exception')
    close(1)
  })

  await app.listen({
    host: config.host,
    port: config.port,
    listenTextResolver: (address) => `Latchkey listens at ${address} · docs at ${address}/docs`
  })
}

serve().catch((error) => {
  process.stderr.write(explainStartupError(error))
  process.exit(1)
})
