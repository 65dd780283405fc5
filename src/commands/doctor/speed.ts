import { availableParallelism } from 'node:os'
import Fastify from 'fastify'
import passwords from '../../plugins/passwords/index.js'
import { recommendedParameters } from '../../plugins/passwords/argon2-hash.js'
import type { Config } from '../../standalone/config.js'
import { type Finding, ok, warning } from './check.js'

/** How many hashes are measured; fewer on a machine that takes longer than this for them, in milliseconds. */
const samples = 5
const samplesMaxMs = 2_000

/** What a hash should take, in milliseconds: less is no obstacle to who guesses, more keeps users waiting. */
const fastMs = 5
const slowMs = 500

/** What the time of a hash means. */
export function rateSpeed (medianMs: number, perSecond: number): Finding {
  const measured = `a password hash takes ${medianMs.toFixed(medianMs < 10 ? 1 : 0)} ms, which is ${perSecond.toFixed(perSecond < 10 ? 1 : 0)} logins a second`
  if (medianMs < fastMs) return warning(`${measured}: too fast`, 'the hashes are not what Latchkey makes: install the package @node-rs/argon2 as it is published')
  return medianMs > slowMs ? warning(`${measured}: users wait, and few logins fill the queue`, 'give the server a faster processor, or one that it shares with fewer others') : ok(measured)
}

/** How fast this machine hashes passwords with the parameters of the server, and how many logins that is. */
export async function checkSpeed ({ hashConcurrency }: Config): Promise<Finding> {
  const app = Fastify()
  await app.register(passwords, { hashParameters: recommendedParameters, hashConcurrency, hashQueue: hashConcurrency, hashDeadlineMs: samplesMaxMs })
  const start = performance.now()
  const times: number[] = []
  do {
    const before = performance.now()
    await app.passwords.hash('correct horse battery staple')
    times.push(performance.now() - before)
  } while (times.length < samples && performance.now() - start < samplesMaxMs)
  const parallel = Math.min(hashConcurrency, availableParallelism())
  const before = performance.now()
  await Promise.all(Array.from({ length: parallel }, () => app.passwords.hash('correct horse battery staple')))
  const perSecond = parallel / (performance.now() - before) * 1_000
  await app.close()
  const medianMs = times.sort((a, b) => a - b)[Math.floor(times.length / 2)]
  return rateSpeed(Number(medianMs), perSecond)
}
