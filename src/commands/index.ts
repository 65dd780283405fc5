import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { isUnavailable } from '../database/errors.js'
import { errorStack } from '../lib/error-code.js'
import { describeError } from '../lib/system-error.js'
import { unwrapDatabaseError } from '../lib/unwrap-error.js'
import { errorLines, explainSetupError } from '../standalone/startup-error.js'
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

/** Why a command failed: a line for each problem that the user can fix, else the stack. */
function explain (error: unknown): string[] {
  if (error instanceof CommandError) return [error.message]
  const problems = explainSetupError(error)
  if (problems !== undefined) return problems
  const cause = unwrapDatabaseError(error)
  return [isUnavailable(error) ? `the database is unavailable: ${describeError(cause)}` : errorStack(cause)]
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
    terminal.stderr.write(errorLines(explain(error)))
    return exitFailure
  }
}
