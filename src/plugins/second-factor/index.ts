import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { CodeRequired } from '../../errors.js'
import { bestEffort } from '../../lib/background.js'
import type { ResolvedOptions } from '../../options.js'
import type { CodeRow } from '../codes/repository.js'
import { type Owner, ownerConditions } from '../users/owner.js'
import type { StoredCredentials } from '../users/repository.js'
import type { User } from '../users/user.js'
import { type ProvenSecret, type SecondFactorRepository, secondFactorRepository } from './repository.js'
import { scheduleResealing } from './resealing.js'
import { createSealing, type Sealing } from './sealing.js'
import { createTotpSecret, describeTotp, isTotpCode, stepOf } from './totp.js'

/** How long an enrolment is valid, in seconds. */
const enrolmentLifetimeSeconds = 600

/** A new secret, which is shown this once. */
export interface Enrolment {
  /** In base32, as an authenticator app takes it. */
  secret: string
  /** The content of a QR code. */
  uri: string
  /** The code that names it when it is proven. */
  enrolment: string
  lifetimeSeconds: number
}

/** The second factor of accounts. */
export interface SecondFactor extends Pick<SecondFactorRepository, 'countRecoveryCodes' | 'switchOn' | 'switchOff' | 'replaceRecoveryCodes'>, Pick<Sealing, 'open'> {
  /**
   * Whether a request may pass whose password is correct: the second factor is off, or the code is
   * one of the authenticator app or a recovery code, which is then used up.
   *
   * @param code of any form, at most `codeMaxLength` characters; undefined where the request has none
   * @throws {CodeRequired} it is on, and there is no code
   * @throws {Error} the secret is missing, or cannot be opened: that is never taken for "off"
   */
  accepts: (user: Pick<StoredCredentials, 'secondFactorAt'> & { id: number }, code: string | undefined) => Promise<boolean>
  /** When the second factor of a user was switched on; null while it is off. */
  findEnabledAt: (userId: number) => Promise<Date | null>
  /**
   * Creates a secret, which counts once a code has proven it. Older ones are not valid any longer.
   *
   * @returns undefined when the owner has not the verified password or the token any longer
   */
  enrol: (user: Pick<User, 'id' | 'username'>, owner: Owner) => Promise<Enrolment | undefined>
  /** The usable enrolment of a user that a code names. */
  findEnrolment: (userId: number, enrolment: string) => Promise<CodeRow | undefined>
  /** The secret of an enrolment, to be switched on; `undefined` when a code of the authenticator app is not one of now. */
  prove: (enrolment: CodeRow, code: string) => Promise<ProvenSecret | undefined>
}

declare module 'fastify' {
  interface FastifyInstance {
    secondFactor: SecondFactor
  }
}

/** The plugin's options. */
export type SecondFactorOptions = Pick<ResolvedOptions, 'secretKey' | 'secretKeyPrevious' | 'publicUrl' | 'now'>

/** The secret of an enrolment, as `enrol` has stored it. */
function secretOf ({ data }: CodeRow): string {
  return (JSON.parse(String(data)) as { secret: string }).secret
}

/** Whether a code of the authenticator app is accepted: each time step once, and none before it. */
async function acceptsTotp (app: FastifyInstance, { repository, sealing, now }: { repository: SecondFactorRepository, sealing: Sealing, now: () => number }, userId: number, code: string): Promise<boolean> {
  const stored = await repository.find(userId)
  // It was switched off, or the account deleted, concurrently: whatever follows looks at the row again.
  if (stored === undefined || stored.secondFactorAt === null) return true
  const { sealedSecret } = stored
  if (sealedSecret === null) throw new Error(`the secret of the second factor of user ${userId} is missing`)
  const { secret, isOutdated } = sealing.open(sealedSecret)
  if (isOutdated) await bestEffort(app, { work: async () => { await app.store.batch([repository.resealQuery(userId, sealedSecret, sealing.seal(secret))]) }, failure: 'the secret of a second factor could not be sealed again' })()
  const step = await stepOf(secret, code, now())
  return step !== undefined && await repository.claimStep(userId, step)
}

const plugin: FastifyPluginAsync<SecondFactorOptions> = async (app, { secretKey, secretKeyPrevious, publicUrl, now }) => {
  const { codes } = app
  const { isOwner } = ownerConditions(app.store)
  const repository = secondFactorRepository(app, now)
  const sealing = createSealing(secretKey, secretKeyPrevious)
  const { countRecoveryCodes, switchOn, switchOff, replaceRecoveryCodes } = repository

  app.decorate('secondFactor', {
    countRecoveryCodes,
    switchOn,
    switchOff,
    replaceRecoveryCodes,
    open: sealing.open,

    async accepts ({ id, secondFactorAt }, code) {
      if (secondFactorAt === null) return true
      if (code === undefined) throw new CodeRequired()
      if (isTotpCode(code)) return await acceptsTotp(app, { repository, sealing, now }, id, code)
      return await codes.consume('recovery', code, id) !== undefined
    },

    async findEnabledAt (userId) {
      return (await repository.find(userId))?.secondFactorAt ?? null
    },

    async enrol ({ id: userId, username }, owner) {
      const secret = createTotpSecret()
      const issued = await codes.issue({ kind: 'second_factor', userId, data: { secret: sealing.seal(secret) }, lifetimeSeconds: enrolmentLifetimeSeconds }, { condition: isOwner(userId, owner) })
      return issued && { ...await describeTotp(secret, { username, publicUrl }), enrolment: issued.code, lifetimeSeconds: enrolmentLifetimeSeconds }
    },

    async findEnrolment (userId, enrolment) {
      const row = await codes.find('second_factor', enrolment)
      return row?.userId === userId ? row : undefined
    },

    async prove (enrolment, code) {
      const { secret } = sealing.open(secretOf(enrolment))
      const step = await stepOf(secret, code, now())
      return step === undefined ? undefined : { sealedSecret: sealing.seal(secret), step }
    }
  } satisfies SecondFactor)

  if (secretKeyPrevious !== undefined) scheduleResealing(app, { repository, sealing })
}

export default fp(plugin, { name: 'latchkey-second-factor', dependencies: ['latchkey-database', 'latchkey-codes'] })
