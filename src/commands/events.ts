import { setTimeout as delay } from 'node:timers/promises'
import { type Command, Option } from 'commander'
import { type AuditEvent, type EventFilter, eventKinds, eventRecord } from '../plugins/audit/event.js'
import { findUser, withServices } from './with-services.js'
import { integerUpTo, say, type Terminal } from './terminal.js'

/** How often `--follow` looks. */
const pollMs = 1_000
/** How far `--follow` looks back each time: an event with a lower id can be there later, when another server was slower. */
const lookBack = 500
/** How many it reads at once. */
const perPage = 1_000

interface EventOptions {
  user?: string
  kind?: string
  limit: number
  follow?: boolean
  json?: boolean
}

/** One line for people; the user's id stands for a user who is gone. */
function line ({ time, kind, outcome, source, userId, username, actorId, detail, address }: AuditEvent): string {
  const user = username ?? (userId === null ? '-' : `#${userId}`)
  const extras = [detail, actorId === null ? null : `by #${actorId}`].filter((extra) => extra !== null)
  return [time.toISOString(), kind.padEnd(15), outcome.padEnd(18), user, address ?? source, ...extras].join('  ')
}

/** `latchkey events` */
export function eventCommands (program: Command, terminal: Terminal): void {
  program.command('events').description('the audit trail: who logged in, who failed to, who changed what')
    .option('--user <name>', 'only of this user')
    .addOption(new Option('--kind <kind>', 'only of this kind').choices(eventKinds))
    .option('--limit <number>', 'how many of the newest', integerUpTo(999_999), 50)
    .option('--follow', 'go on with what happens, until interrupted')
    .option('--json', 'print records, one a line')
    .action(async ({ user, kind, limit, follow = false, json = false }: EventOptions) => {
      await withServices(terminal, { database: true }, async (services) => {
        const filter: EventFilter = {
          userId: user === undefined ? undefined : (await findUser(services, user)).id,
          kind
        }
        const show = (event: AuditEvent) => say(terminal, json ? JSON.stringify(eventRecord(event)) : line(event))
        const newest = (await services.audit.list(filter, limit)).reverse()
        newest.forEach(show)
        if (!follow) return

        // Until whoever reads has gone, or an interrupt ends the process.
        const isOver = new AbortController()
        for (const end of ['close', 'error']) terminal.stdout.on(end, () => isOver.abort())
        const ids = newest.map(({ id }) => id)
        let highest = Math.max(0, ...ids)
        const first = Math.min(highest, ...ids)
        let seen = new Set(ids)
        while (!isOver.signal.aborted) {
          const page = await services.audit.listAfter(Math.max(highest - lookBack, first), filter, perPage)
          for (const event of page.filter(({ id }) => !seen.has(id))) {
            show(event)
            seen.add(event.id)
            highest = Math.max(highest, event.id)
          }
          seen = new Set([...seen].filter((id) => id >= highest - lookBack))
          await delay(pollMs, undefined, { signal: isOver.signal }).catch(() => {})
        }
      })
    })
}
