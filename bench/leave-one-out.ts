import { type SeededDatabase, seedSqlite, startLatchkey } from './databases.js'
import { type Figures, medianFigures, measureLoad, warmUp, withTokens } from './load.js'
import type { Part } from './parts.js'
import { type ServerProcess, startServer } from './processes.js'
import { progress } from './progress.js'
import type { Scale } from './scale.js'
import { inRounds } from './statistics.js'
import { buildWithout } from './variant.js'

/** The figures of the server without one part, of the whole server, or of bare Fastify. */
export interface PartFigures {
  name: string
  /** `GET /` */
  open: Figures
  /** `GET /need_login` with a token; for bare Fastify `GET /` again. */
  guarded: Figures
}

/** The name of the server with all parts. */
export const wholeServer = 'whole server'

interface Cell {
  name: string
  /** The route with a guard. */
  path: string
  start: () => Promise<ServerProcess>
}

const connections = 64

async function cellsOf (parts: Part[], database: SeededDatabase): Promise<Cell[]> {
  const path = '/need_login'
  const cells: Cell[] = [
    { name: 'bare Fastify', path: '/', start: () => startServer('bench/servers/fastify-hello.js', { ACCOUNT: '{}' }) },
    { name: wholeServer, path, start: () => startLatchkey(database) },
    // Its distance to the first is the noise of the run.
    { name: `${wholeServer}, again`, path, start: () => startLatchkey(database) },
    { name: `${wholeServer}, requests logged`, path, start: () => startLatchkey(database, { LOG_LEVEL: 'info' }) }
  ]
  for (const part of parts) {
    progress(`building without ${part.name}`)
    const script = await buildWithout(part)
    cells.push({ name: `without ${part.name}`, path, start: () => startLatchkey(database, {}, script) })
  }
  return cells
}

/**
 * Measures the server with one part left out at a time: the price of each part. Every measurement
 * has a new process, and the table shows medians.
 */
export async function measureParts (parts: Part[], { partRounds, partSeconds, warmUpSeconds }: Scale): Promise<PartFigures[]> {
  const database = await seedSqlite(1_000)
  const token = withTokens(await database.tokens(1))
  const results = await inRounds(await cellsOf(parts, database), partRounds, async ({ name, path, start }, round) => {
    progress(`round ${round + 1} of ${partRounds}: ${name}`)
    const server = await start()
    const load = { server, connections, requests: token }
    for (const each of ['/', path]) await warmUp({ ...load, path: each }, warmUpSeconds)
    const open = await measureLoad({ ...load, path: '/' }, partSeconds)
    const guarded = await measureLoad({ ...load, path }, partSeconds)
    await server.stop()
    return { open, guarded }
  })
  return results.map(({ cell: { name }, measurements }) => ({
    name,
    open: medianFigures(measurements.map(({ open }) => open)),
    guarded: medianFigures(measurements.map(({ guarded }) => guarded))
  }))
}
