import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { bestEffort } from '../../lib/background.js'
import type { SecondFactorRepository } from './repository.js'
import type { Sealing } from './sealing.js'

/** How many secrets one batch seals again: no request must wait for all of them. */
const secretsPerPage = 500

/**
 * Seals all secrets again that SECRET_KEY_PREVIOUS has sealed, once the app listens: otherwise
 * those of users who do not log in meanwhile would be lost with that key. Nothing waits for it.
 */
export function scheduleResealing (app: FastifyInstance, { repository, sealing }: { repository: SecondFactorRepository, sealing: Sealing }): void {
  const closing = new AbortController()
  let running = Promise.resolve()

  /** A secret of another key than both stays as it is. */
  function isOutdated (sealed: string): boolean {
    try {
      return sealing.open(sealed).isOutdated
    } catch {
      return false
    }
  }

  const resealAll = bestEffort(app, {
    async work () {
      let count = 0
      for (let page = await repository.page(0, secretsPerPage); page.length > 0 && !closing.signal.aborted; page = await repository.page(Number(page.at(-1)?.userId), secretsPerPage)) {
        const outdated = page.filter(({ sealedSecret }) => isOutdated(sealedSecret))
        if (outdated.length > 0) await app.store.batch(outdated.map(({ userId, sealedSecret }) => repository.resealQuery(userId, sealedSecret, sealing.seal(sealing.open(sealedSecret).secret))))
        count += outdated.length
        await nextTurn()
      }
      if (count > 0) app.log.info({ count }, 'the secrets of second factors were sealed with the new SECRET_KEY')
    },
    failure: 'the secrets of second factors could not all be sealed with the new SECRET_KEY'
  })

  app.addHook('onListen', (done) => {
    running = resealAll()
    done()
  })
  app.addHook('onClose', async () => {
    closing.abort()
    await running
  })
}
