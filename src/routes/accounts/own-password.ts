import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { PasswordIncorrect } from '../../errors.js'
import type { EventKind, EventOutcome } from '../../plugins/audit/event.js'
import { runGuardsAgain } from '../../plugins/authenticate/guard.js'
import { checkOwnPassword } from '../../plugins/login-throttle/check-own-password.js'
import { hashJobOf } from '../../plugins/passwords/hash-job.js'
import type { HashJob } from '../../plugins/passwords/hash-limiter.js'

/** The hooks of a route that asks for the user's own password: it is limited like a login. */
export function ownPasswordHooks (app: FastifyInstance) {
  return {
    onRequest: [app.authenticate, app.throttle.rejectAddress('password'), app.passwords.rejectWhenFull('login')],
    preValidation: app.throttle.rejectAddress('password'),
    onError: app.throttle.countMalformed('password')
  }
}

/** The user's own password, which was verified. */
export interface OwnPassword {
  /** For what is hashed after it, and what waits. */
  job: HashJob
  /** Records the outcome of the request in the audit log. */
  record: (outcome: EventOutcome) => void
  /**
   * Runs an action if the verified hash is still the stored one. A login can upgrade the hash
   * concurrently: then the password is verified against the new hash.
   *
   * @param action what is done; false when the hash is not the stored one any longer, or it cannot be done
   * @param explain throws why it cannot be done
   * @throws {PasswordIncorrect} the password was changed concurrently
   */
  act: (action: (verifiedHash: string) => Promise<boolean>, explain?: () => Promise<void>) => Promise<void>
}

/**
 * Verifies the password of the current user.
 *
 * @param check.kind the kind of the events that are recorded
 * @throws {PasswordIncorrect}
 * @throws {TooManyAttempts} this address or this account has to wait
 * @throws {Overloaded} it waited too long, or the hash limiter rejected the job
 */
export async function verifyOwnPassword (app: FastifyInstance, request: FastifyRequest, reply: FastifyReply, { kind, password }: { kind: EventKind, password: string }): Promise<OwnPassword> {
  const { currentUser: { id } } = request
  const firstJob = hashJobOf(request, reply)
  const job = { ...firstJob, hasPriority: true }
  const record = (outcome: EventOutcome) => app.audit.record({ kind, outcome, userId: id }, request)
  const hash = await app.users.findHash(id)
  if (!(await checkOwnPassword(app, request, { hash, password, job: firstJob })) || hash === undefined) {
    record('password_incorrect')
    throw new PasswordIncorrect()
  }

  async function actOnVerified (verifiedHash: string, action: (verifiedHash: string) => Promise<boolean>): Promise<boolean> {
    if (await action(verifiedHash)) return true
    const currentHash = await app.users.findHash(id)
    return currentHash !== undefined && currentHash !== verifiedHash && await app.passwords.verify(currentHash, password, job) && action(currentHash)
  }

  return {
    job,
    record,
    async act (action, explain) {
      if (await actOnVerified(hash, action)) return
      await runGuardsAgain(request, [app.authenticate])
      await explain?.()
      record('password_changed_concurrently')
      throw new PasswordIncorrect()
    }
  }
}
