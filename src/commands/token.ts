import type { Command } from 'commander'
import { isTokenId, tokenMaxLifetimeSeconds } from '../plugins/tokens/claims.js'
import { descriptionProblem } from '../lib/single-line.js'
import { personalTokenLifetimeSeconds } from '../plugins/tokens/limits.js'
import { findUser, printableName, withServices } from './with-services.js'
import { printLine, printResult } from './output.js'
import { printRecords } from './table.js'
import { CommandError, integerUpTo, rejectInvalid, type Terminal } from './terminal.js'

/** `latchkey token …` */
export function tokenCommands (program: Command, terminal: Terminal): void {
  const token = program.command('token').description('manage tokens')

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
        await printResult(terminal, options, {
          id: issued.id,
          description,
          created_at: issued.createdAt.toISOString(),
          expires_at: issued.expiresAt.toISOString(),
          token: issued.token
        }, issued.token)
      })
    })

  token.command('list').argument('<user>', 'the username').description('list the active tokens of a user, newest first: logins and personal access tokens')
    .option('--json', 'print a JSON array')
    .action(async (username: string, options: { json?: boolean }) => {
      await withServices(terminal, { database: true }, async (services) => {
        const user = await findUser(services, username)
        const records = (await services.tokens.list(user.id)).map(({ id, description, createdAt, expiresAt, lastUsedAt }) => ({
          id,
          description,
          created_at: createdAt.toISOString(),
          expires_at: expiresAt.toISOString(),
          last_used_at: lastUsedAt?.toISOString() ?? null
        }))
        await printRecords(terminal, options, { id: 0, description: 0, last_used_at: 0, created_at: 0, expires_at: 0 }, [records], `user ${user.username} has no active tokens`)
      })
    })

  token.command('revoke').argument('<user>', 'the username').argument('<id>', 'the id of the token').description('revoke a token of a user')
    .action(async (username: string, id: string) => {
      await withServices(terminal, { database: true }, async (services) => {
        const user = await findUser(services, username)
        if (!isTokenId(id) || !(await services.tokens.revoke(user.id, id))) throw new CommandError(`user ${user.username} has no token ${printableName(id)}`)
        services.audit.record({ kind: 'revocation', userId: user.id, detail: id })
        await printLine(terminal, `the token ${id} of user ${user.username} was revoked`)
      })
    })
}
