import { buildApp } from './app.js'
import { loadEnvironment } from './standalone/environment.js'
import { logDestination } from './standalone/log-destination.js'
import { explainStartupError } from './standalone/startup-error.js'

/** After this, connections that still have not finished are cut: the process is gone within 10 s of the signal. */
const drainDeadlineMs = 6_000
/** After this the process ends, whatever still hangs. */
const exitDeadlineMs = 7_000

const sink = logDestination(process.stdout.fd)
process.on('exit', sink.flushSync)

async function serve (): Promise<void> {
  const { config, isSecretKeyNew, warnings } = loadEnvironment(process.env)
  // People read colours, programs read JSON.
  const logStream = process.stdout.isTTY ? (await import('pino-pretty')).default({ sync: true }) : sink
  const app = await buildApp(config, { logStream })
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
    const cut = setTimeout(() => app.server.closeAllConnections(), drainDeadlineMs)
    // Whatever hangs or fails in here, the process ends.
    const giveUp = setTimeout(() => process.exit(1), exitDeadlineMs)
    app.close().then(() => app.log.info('closed'), (error) => {
      exitCode = 1
      app.log.fatal({ err: error }, 'could not be closed')
    }).finally(() => {
      clearTimeout(cut)
      clearTimeout(giveUp)
      process.exit(exitCode)
    })
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      app.log.info({ signal }, 'closing: answering what is in flight')
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

try {
  await serve()
} catch (error) {
  console.error(`latchkey: ${explainStartupError(error)}`)
  process.exit(1)
}
