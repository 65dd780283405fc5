import { setTimeout as delay } from 'node:timers/promises'
import { type Command, Option } from 'commander'
import type { FastifyInstance } from 'fastify'
import { type AuditEvent, type EventFilter, eventKinds, eventRecord } from '../plugins/audit/event.js'
import { findUser, withServices } from './with-services.js'
import { print } from './output.js'
import { type Row, tablePrinter } from './table.js'
import { integerUpTo, type Terminal } from './terminal.js'

/** How often `--follow` polls, in milliseconds. */
const pollMs = 1_000
/** How many ids before the newest one `--follow` reads again: a slower server can write an event with a lower id later. */
const lookBackIds = 500
/** How many events one poll reads. */
const pageSize = 1_000

interface EventOptions {
  user?: string
  kind?: string
  limit: number
  follow?: boolean
  json?: boolean
}

/** The columns of the table, with the widths that most events need. */
const columns = { time: 24, kind: 15, outcome: 18, user: 8, source: 9, detail: 0 }

/** An event as a row of text. A deleted user appears as `#` and the id. */
function eventRow ({ time, kind, outcome, source, userId, username, actorId, detail, address }: AuditEvent): Row {
  return {
    time: time.toISOString(),
    kind,
    outcome,
    user: username ?? (userId === null ? '-' : `#${userId}`),
    source: address ?? source,
    detail: [detail, actorId === null ? null : `by #${actorId}`].filter((extra) => extra !== null).join('  ')
  }
}

/** Reads the newest events page by page, oldest first. */
async function * readNewest (services: FastifyInstance, filter: EventFilter, limit: number): AsyncGenerator<AuditEvent[]> {
  const newest = await services.audit.list(filter, Math.min(limit, pageSize))
  // Most lists are one page. For others, look up where to begin, then read forward: no more than a page is in memory.
  let [oldest, left] = [newest.at(-1), limit - newest.length]
  for (let page = newest; left > 0 && page.length === pageSize;) {
    page = await services.audit.list({ ...filter, before: oldest?.id }, Math.min(left, pageSize))
    left -= page.length
    oldest = page.at(-1) ?? oldest
  }
  if (oldest === newest.at(-1)) return yield newest.reverse()
  const highest = Number(newest[0]?.id)
  for (let after = Number(oldest?.id) - 1; after < highest;) {
    const page = (await services.audit.listAfter(after, filter, pageSize)).filter(({ id }) => id <= highest)
    yield page
    // Nothing is left when the rest was deleted concurrently: no id is above NaN.
    after = Number(page.at(-1)?.id)
  }
}

/** Shows new events until the reader closes standard output or an interrupt ends the process. */
async function followEvents (services: FastifyInstance, filter: EventFilter, shown: number[], { stdout }: Terminal, show: (events: AuditEvent[]) => Promise<void>): Promise<void> {
  const isClosed = new AbortController()
  for (const name of ['close', 'error']) stdout.on(name, () => isClosed.abort())
  let highest = Math.max(0, ...shown)
  const first = Math.min(highest, ...shown)
  let seen = new Set(shown)
  while (!isClosed.signal.aborted) {
    const page = await services.audit.listAfter(Math.max(highest - lookBackIds, first), filter, pageSize)
    const added = page.filter(({ id }) => !seen.has(id))
    await show(added)
    for (const { id } of added) {
      seen.add(id)
      highest = Math.max(highest, id)
    }
    seen = new Set([...seen].filter((id) => id >= highest - lookBackIds))
    await delay(pollMs, undefined, { signal: isClosed.signal }).catch(() => {})
  }
}

/** `latchkey events` */
export function eventCommands (program: Command, terminal: Terminal): void {
  program.command('events').description('print the audit log: logins, failed logins and changes')
    .option('--user <name>', 'only events of this user')
    .addOption(new Option('--kind <kind>', 'only events of this kind').choices(eventKinds))
    .option('--limit <number>', 'how many of the newest events to print', integerUpTo(999_999), 50)
    .option('--follow', 'keep printing new events until interrupted')
    .option('--json', 'print one JSON object per line')
    .action(async ({ user, kind, limit, follow = false, json = false }: EventOptions) => {
      await withServices(terminal, { database: true }, async (services) => {
        const filter: EventFilter = {
          userId: user === undefined ? undefined : (await findUser(services, user)).id,
          kind
        }
        const printTable = tablePrinter(terminal, columns)
        const show = async (events: AuditEvent[]) => {
          if (events.length === 0) return
          if (json) await print(terminal, events.map((event) => `${JSON.stringify(eventRecord(event))}\n`).join(''))
          else await printTable(events.map(eventRow))
        }
        let last: number[] = []
        for await (const page of readNewest(services, filter, limit)) {
          await show(page)
          last = page.map(({ id }) => id)
        }
        if (follow) await followEvents(services, filter, last, terminal, show)
      })
    })
}
