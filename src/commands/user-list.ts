import type { Command } from 'commander'
import type { FastifyInstance } from 'fastify'
import { printRecords, type Row } from './table.js'
import { integerUpTo, type Terminal } from './terminal.js'
import { userRecord } from './user-record.js'
import { withServices } from './with-services.js'

/** How many accounts one query reads. */
const pageSize = 500

interface ListOptions { json?: boolean, limit?: number, search?: string, disabled?: boolean }

/** Reads accounts page by page, oldest first. */
async function * readPages (services: FastifyInstance, { limit = Infinity, search, disabled: isDisabled }: ListOptions): AsyncGenerator<Row[]> {
  let afterId = 0
  for (let left = limit; left > 0;) {
    const page = await services.users.page({ afterId, limit: Math.min(left, pageSize), search, isDisabled })
    yield page.map((user) => userRecord(user, user.roles))
    if (page.length < pageSize) return
    left -= page.length
    afterId = Number(page.at(-1)?.id)
  }
}

/** `latchkey user list` */
export function userListCommand (user: Command, terminal: Terminal): void {
  user.command('list').description('list accounts, oldest first')
    .option('--search <prefix>', 'only accounts whose username begins with this')
    .option('--disabled', 'only accounts that are disabled')
    .option('--limit <number>', 'how many accounts to print; default: all', integerUpTo(1_000_000_000))
    .option('--json', 'print a JSON array')
    .action(async (options: ListOptions) => {
      const { search, disabled = false } = options
      const kind = disabled ? 'disabled users' : 'users'
      await withServices(terminal, { database: true }, (services) => printRecords(
        terminal,
        options,
        { id: 0, username: 0, roles: 0, email: 0, disabled_at: 0, created_at: 0 },
        readPages(services, options),
        search === undefined ? `there are no ${kind}` : `there are no ${kind} whose username begins with that`
      ))
    })
}
