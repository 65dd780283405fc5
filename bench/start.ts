import { setTimeout as delay } from 'node:timers/promises'
import { copySqlite, seedSqlite, startLatchkey } from './databases.js'
import { measureLoad, withTokens } from './load.js'
import { residentMebibytes, type ServerProcess, startServer } from './processes.js'
import { progress } from './progress.js'
import type { Scale } from './scale.js'
import { inRounds, median, medianOfKnown } from './statistics.js'

/** The startup time and the memory of a server; `undefined` where the system does not report it. */
export interface StartFigures {
  server: string
  /** From the spawn to the first response. */
  startMs: number
  /** Idle, some time after the start. */
  idleMebibytes: number | undefined
  /** After a load over 64 connections. */
  loadedMebibytes: number | undefined
}

/** Measures startup and memory of Latchkey, and of a minimal Fastify server with a database. */
export async function measureStarts ({ spawns, idleSeconds, loadSeconds }: Scale): Promise<StartFigures[]> {
  const database = await seedSqlite(1_000)
  const tokens = await database.tokens(1_000)
  const copy = copySqlite(database)
  const cells: Array<{ server: string, start: () => Promise<ServerProcess>, path: string, tokens: string[] }> = [
    { server: 'Fastify, better-sqlite3', start: () => startServer('bench/servers/fastify-sqlite.js', { DATABASE_FILE: copy }), path: '/user', tokens: tokens.slice(0, 1) },
    { server: 'Latchkey, SQLite', start: () => startLatchkey(database), path: '/need_login', tokens }
  ]
  const results = await inRounds(cells, spawns, async ({ server, start, path, tokens }, round) => {
    progress(`start ${round + 1} of ${spawns}: ${server}`)
    const started = await start()
    await delay(idleSeconds * 1_000)
    const idleMebibytes = residentMebibytes(started.pid)
    const isLast = round === spawns - 1
    if (isLast) await measureLoad({ server: started, path, connections: 64, requests: withTokens(tokens) }, loadSeconds)
    const loadedMebibytes = isLast ? residentMebibytes(started.pid) : undefined
    await started.stop()
    return { startMs: started.startMs, idleMebibytes, loadedMebibytes }
  })
  return results.map(({ cell: { server }, measurements }) => ({
    server,
    startMs: median(measurements.map(({ startMs }) => startMs)),
    idleMebibytes: medianOfKnown(measurements.map(({ idleMebibytes }) => idleMebibytes)),
    loadedMebibytes: medianOfKnown(measurements.map(({ loadedMebibytes }) => loadedMebibytes))
  }))
}
