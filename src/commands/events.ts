import { setTimeout as delay } from 'node:timers/promises'
import { type Command, Option } from 'commander'
import type { FastifyInstance } from 'fastify'
import { type AuditEvent, type EventFilter, eventKinds, eventRecord } from '../plugins/audit/event.js'
import { findUser, withServices } from './with-services.js'
import { integerUpTo, printLine, type Terminal } from './terminal.js'

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

/** An event as one line of text. A deleted user appears as `#` and the id. */
function formatLine ({ time, kind, outcome, source, userId, username, actorId, detail, address }: AuditEvent): string {
  const user = username ?? (userId === null ? '-' : `#${userId}`)
  const extras = [detail, actorId === null ? null : `by #${actorId}`].filter((extra) => extra !== null)
  return [time.toISOString(), kind.padEnd(15), outcome.padEnd(18), user, address ?? source, ...extras].join('  ')
}

/** Shows new events until the reader closes standard output or an interrupt ends the process. */
async function followEvents (services: FastifyInstance, filter: EventFilter, shown: AuditEvent[], { stdout }: Terminal, show: (event: AuditEvent) => void): Promise<void> {
  const isClosed = new AbortController()
  for (const name of ['close', 'error']) stdout.on(name, () => isClosed.abort())
  const ids = shown.map(({ id }) => id)
  let highest = Math.max(0, ...ids)
  const first = Math.min(highest, ...ids)
  let seen = new Set(ids)
  while (!isClosed.signal.aborted) {
    const page = await services.audit.listAfter(Math.max(highest - lookBackIds, first), filter, pageSize)
    for (const event of page.filter(({ id }) => !seen.has(id))) {
      show(event)
      seen.add(event.id)
      highest = Math.max(highest, event.id)
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
        const show = (event: AuditEvent) => printLine(terminal, json ? JSON.stringify(eventRecord(event)) : formatLine(event))
        const newest = (await services.audit.list(filter, limit)).reverse()
        newest.forEach(show)
        if (follow) await followEvents(services, filter, newest, terminal, show)
      })
    })
}
