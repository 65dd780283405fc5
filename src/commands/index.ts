import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { isUnavailable } from '../database/errors.js'
import { errorStack } from '../lib/error-code.js'
import { describeError } from '../lib/system-error.js'
import { unwrapDatabaseError } from '../lib/unwrap-error.js'
import { errorLines, explainSetupError } from '../standalone/startup-error.js'
import { backupCommand } from './backup.js'
import { doctorCommand } from './doctor/index.js'
import { eventCommands } from './events.js'
import { addExamples } from './examples.js'
import { inviteCommands } from './invite.js'
import { OutputError, print } from './output.js'
import { restoreCommand } from './restore.js'
import { roleCommands } from './role.js'
import { serverCommands } from './server.js'
import { CommandError, type Terminal } from './terminal.js'
import { tokenCommands } from './token.js'
import { transferCommands } from './transfer/index.js'
import { unlockCommand } from './unlock.js'
import { userCommands } from './user.js'

/** Exit code: the command failed. */
const exitFailure = 1
/** Exit code: unknown command, option or argument. */
const exitUsage = 2

/** Exit code: the program that read standard output has ended. What a shell reports for a program that SIGPIPE ended. */
const exitReaderGone = 141

/** @param writeHelp receives the help and the version */
function buildProgram (terminal: Terminal, writeHelp: (text: string) => void): Command {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  const program = new Command('latchkey')
    .description('Sign up, log in, protect your routes. Reads its settings from the environment and .env.')
    .version(version)
    .exitOverride()
    .configureOutput({
      writeOut: writeHelp,
      writeErr: (text) => { terminal.stderr.write(text) },
      outputError: (text, write) => write(text.replace(/^error: /, 'latchkey: '))
    })
  serverCommands(program, terminal)
  userCommands(program, terminal)
  unlockCommand(program, terminal)
  roleCommands(program, terminal)
  inviteCommands(program, terminal)
  tokenCommands(program, terminal)
  eventCommands(program, terminal)
  transferCommands(program, terminal)
  backupCommand(program, terminal)
  restoreCommand(program, terminal)
  doctorCommand(program, terminal)
  // Without this, a command with subcommands consumes the `--` meant for a subcommand.
  for (const command of [program, ...program.commands]) command.enablePositionalOptions()
  addExamples(program)
  return program
}

/** Why a command failed: a line for each problem that the user can fix, else the stack. */
function explain (error: unknown): string[] {
  if (error instanceof CommandError || error instanceof OutputError) return [error.message]
  const problems = explainSetupError(error)
  if (problems !== undefined) return problems
  const cause = unwrapDatabaseError(error)
  return [isUnavailable(error) ? `the database is unavailable: ${describeError(cause)}` : errorStack(cause)]
}

/** @throws {Error} the command failed */
async function execute (args: string[], terminal: Terminal): Promise<number> {
  let help = ''
  try {
    await buildProgram(terminal, (text) => { help += text }).parseAsync(args, { from: 'user' })
    return 0
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    // Commander has printed the usage error already.
    await print(terminal, help)
    return error.exitCode === 0 ? 0 : exitUsage
  }
}

/**
 * Runs the `latchkey` command.
 *
 * @param args without the program's name
 * @returns the exit code: 0 success, 1 failure (with the reasons on standard error), 2 usage error, 141 nobody reads the output
 */
export async function run (args: string[], terminal: Terminal): Promise<number> {
  // Each write reports its own error. An error event without a listener would end the process with a stack.
  for (const stream of [terminal.stdout, terminal.stderr]) stream.on('error', () => {})
  try {
    return await execute(args, terminal)
  } catch (error) {
    if (error instanceof OutputError && error.isReaderGone) return exitReaderGone
    terminal.stderr.write(errorLines(explain(error)))
    return exitFailure
  }
}
