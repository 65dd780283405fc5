import type { Command } from 'commander'
import { tokenMaxLifetimeSeconds } from '../plugins/tokens/claims.js'
import { descriptionProblem } from '../lib/single-line.js'
import { personalTokenLifetimeSeconds } from '../plugins/tokens/limits.js'
import { findUser, withServices } from './with-services.js'
import { CommandError, integerUpTo, printResult, rejectInvalid, type Terminal } from './terminal.js'

/** `latchkey token …` */
export function tokenCommands (program: Command, terminal: Terminal): void {
  const token = program.command('token').description('manage personal access tokens')

  token.command('create').argument('<user>', 'the username').description('create a personal access token and print it')
    .requiredOption('--description <text>', 'what the token is for')
    .option('--expires-in <seconds>', 'the lifetime in seconds', integerUpTo(tokenMaxLifetimeSeconds), personalTokenLifetimeSeconds)
    .option('--json', 'print a JSON object')
    .action(async (username: string, options: { description: string, expiresIn: number, json?: boolean }) => {
      const { description, expiresIn: lifetimeSeconds } = options
      rejectInvalid('description', descriptionProblem(description))
      await withServices(terminal, { database: true, secretKey: true }, async (services) => {
        const user = await findUser(services, username)
        const issued = await services.accessTokens.issue({ userId: user.id, kind: 'personal', description, lifetimeSeconds })
        if (issued === undefined) throw new CommandError(`user ${user.username} has too many access tokens: revoke one first`)
        services.audit.record({ kind: 'token_creation', userId: user.id, detail: issued.id })
        printResult(terminal, options, {
          id: issued.id,
          description,
          created_at: issued.createdAt.toISOString(),
          expires_at: issued.expiresAt.toISOString(),
          token: issued.token
        }, issued.token)
      })
    })
}
