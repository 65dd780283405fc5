import type { FastifyBaseLogger } from 'fastify'
import type { Bindings, ChildLoggerOptions, Logger } from 'pino'

type Arguments = Parameters<FastifyBaseLogger['info']>

/**
 * The logger of a request: a child logger that is created when something is logged. Most requests
 * log nothing, and a child logger costs more than the rest of a simple request.
 *
 * Fastify looks at every method of a new logger: none may be a getter that creates the child.
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

  fatal (...args: Arguments): void { this.logger.fatal(...args) }
  error (...args: Arguments): void { this.logger.error(...args) }
  warn (...args: Arguments): void { this.logger.warn(...args) }
  info (...args: Arguments): void { this.logger.info(...args) }
  debug (...args: Arguments): void { this.logger.debug(...args) }
  trace (...args: Arguments): void { this.logger.trace(...args) }
  silent (...args: Arguments): void { this.logger.silent(...args) }

  child (bindings: Bindings, options?: ChildLoggerOptions): Logger {
    return this.logger.child(bindings, options)
  }
}
