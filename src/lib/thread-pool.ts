import { availableParallelism } from 'node:os'

/** The threads of libuv's pool, unless UV_THREADPOOL_SIZE says otherwise (https://docs.libuv.org/en/v1.x/threadpool.html). */
const defaultPoolSize = 4

/**
 * How many passwords to hash at once by default: one for each processor, but one processor is left
 * for requests where there are more than three. Hashes run on libuv's thread pool, where files and
 * name lookups need a thread.
 *
 * @param processors how many there are for this process
 * @param poolSize the environment variable UV_THREADPOOL_SIZE
 */
export function hashConcurrencyOf (processors: number, poolSize: string | undefined): number {
  const threads = (Number(poolSize) || defaultPoolSize) - 1
  const wanted = processors > 3 ? processors - 1 : processors
  return Math.max(1, Math.min(wanted, threads))
}

/** The same, for this process. */
export const defaultHashConcurrency = hashConcurrencyOf(availableParallelism(), process.env.UV_THREADPOOL_SIZE)
