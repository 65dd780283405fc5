import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { ConfigError } from '../standalone/config.js'
import { isUnavailable } from '../database/errors.js'
import { errorMessage, errorStack } from '../lib/error-code.js'
import { unwrapDatabaseError } from '../lib/unwrap-error.js'
import { StoreError } from '../database/store.js'
import { eventCommands } from './events.js'
import { roleCommands } from './role.js'
import { serverCommands } from './server.js'
import { CommandError, type Terminal } from './terminal.js'
import { tokenCommands } from './token.js'
import { transferCommands } from './transfer/index.js'
import { userCommands } from './user.js'

/** The command could not do what it was asked. */
const failed = 1
/** The command was not understood. */
const misused = 2

function buildProgram (terminal: Terminal): Command {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'))
  const program = new Command('latchkey')
    .description('Sign up, log in, protect your routes. Settings come from the environment or .env.')
    .version(version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => { terminal.stdout.write(text) },
      writeErr: (text) => { terminal.stderr.write(text) }
    })
  serverCommands(program, terminal)
  userCommands(program, terminal)
  roleCommands(program, terminal)
  tokenCommands(program, terminal)
  eventCommands(program, terminal)
  transferCommands(program, terminal)
  // Otherwise a command with subcommands takes the `--` away that is meant for them.
  for (const command of [program, ...program.commands]) command.enablePositionalOptions()
  return program
}

/** One line for what the caller can mend; the stack for what only a developer can. */
function explain (error: unknown): string {
  if (error instanceof CommandError || error instanceof ConfigError || error instanceof StoreError) return error.message
  if (isUnavailable(error)) return `the database cannot serve now: ${errorMessage(unwrapDatabaseError(error))}`
  return errorStack(unwrapDatabaseError(error))
}

/**
 * The `latchkey` command.
 *
 * @returns the exit code: 0 done, 1 could not be done (one line on standard error says why),
 * 2 not understood
 */
export async function run (args: string[], terminal: Terminal): Promise<number> {
  try {
    await buildProgram(terminal).parseAsync(args, { from: 'user' })
    return 0
  } catch (error) {
    // Help and version end with 0; everything else that the parser throws was explained by it.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : misused
    terminal.stderr.write(`latchkey: ${explain(error)}\n`)
    return failed
  }
}
