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

/** Exit code: the command failed. */
const exitFailure = 1
/** Exit code: unknown command, option or argument. */
const exitUsage = 2

function buildProgram (terminal: Terminal): Command {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'))
  const program = new Command('latchkey')
    .description('Sign up, log in, protect your routes. Reads its settings from the environment and .env.')
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
  // Without this, a command with subcommands consumes the `--` meant for a subcommand.
  for (const command of [program, ...program.commands]) command.enablePositionalOptions()
  return program
}

/** Why a command failed: one line when the user can fix it, else the stack. */
function explain (error: unknown): string {
  if (error instanceof CommandError || error instanceof ConfigError || error instanceof StoreError) return error.message
  if (isUnavailable(error)) return `the database is unavailable: ${errorMessage(unwrapDatabaseError(error))}`
  return errorStack(unwrapDatabaseError(error))
}

/**
 * Runs the `latchkey` command.
 *
 * @param args without the program's name
 * @returns the exit code: 0 success, 1 failure (with the reason on standard error), 2 usage error
 */
export async function run (args: string[], terminal: Terminal): Promise<number> {
  try {
    await buildProgram(terminal).parseAsync(args, { from: 'user' })
    return 0
  } catch (error) {
    // Commander has printed the help, the version or the usage error already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitUsage
    terminal.stderr.write(`latchkey: ${explain(error)}\n`)
    return exitFailure
  }
}
