import type { FastifyBaseLogger } from 'fastify'
import type { Bindings, ChildLoggerOptions, Logger } from 'pino'

type Log = FastifyBaseLogger['info']

/**
 * The logger of a request: a child logger that is created when something is logged. Most requests
 * log nothing, and a child logger costs more than the rest of a simple request.
 */
export class RequestLogger implements FastifyBaseLogger {
  private ownLogger: Logger | undefined

  // Plain properties: private names and a closure would cost every request more than all of the rest.
  constructor (private readonly parent: Logger, private readonly childBindings: Bindings, private readonly childOptions: ChildLoggerOptions) {}

  private get logger (): Logger {
    this.ownLogger ??= this.parent.child(this.childBindings, this.childOptions)
    return this.ownLogger
  }

  get level (): string { return this.logger.level }
  set level (level) { this.logger.level = level }
  get msgPrefix (): string | undefined { return this.logger.msgPrefix }
  get fatal (): Log { return this.method('fatal') }
  get error (): Log { return this.method('error') }
  get warn (): Log { return this.method('warn') }
  get info (): Log { return this.method('info') }
  get debug (): Log { return this.method('debug') }
  get trace (): Log { return this.method('trace') }
  get silent (): Log { return this.method('silent') }

  child (bindings: Bindings, options?: ChildLoggerOptions): Logger {
    return this.logger.child(bindings, options)
  }

  private method (name: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'): Log {
    return this.logger[name].bind(this.logger)
  }
}
