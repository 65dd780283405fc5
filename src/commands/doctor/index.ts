import type { Command } from 'commander'
import { countOf, printLine } from '../output.js'
import { CommandError, type Terminal } from '../terminal.js'
import { type Result, runCheck, runChecks, skipChecks, worstOf } from './check.js'
import { examineDatabase } from './database.js'
import { environmentChecks, readEnvironment, settingsChecks } from './settings.js'
import { checkSpeed } from './speed.js'

/** Runs all checks in their order. Nothing is written. */
async function * examine (terminal: Terminal): AsyncGenerator<Result> {
  const environment = readEnvironment(terminal)
  yield * runChecks(environmentChecks, environment)
  const { config } = environment
  if (config === undefined) {
    yield * skipChecks([...settingsChecks, { name: 'database' }, { name: 'speed' }], 'the settings are invalid')
    return
  }
  yield * runChecks(settingsChecks, { ...environment, config })
  yield * examineDatabase(config)
  yield await runCheck({ name: 'speed', run: checkSpeed }, config)
}

/** A result as a line: the status, the name, what was found, and what to do. */
function lineOf ({ status, name, message, advice }: Result): string {
  return `${status.padEnd(7)}  ${name}: ${message}${advice === undefined ? '' : ` → ${advice}`}`
}

async function diagnose (terminal: Terminal, { json = false }: { json?: boolean }): Promise<void> {
  const checks: Result[] = []
  for await (const result of examine(terminal)) {
    checks.push(result)
    if (!json) await printLine(terminal, lineOf(result))
  }
  if (json) await printLine(terminal, JSON.stringify({ status: worstOf(checks), checks }))
  const failed = checks.filter(({ status }) => status === 'failure').map(({ name }) => name)
  if (failed.length > 0) throw new CommandError(`${countOf(failed.length, 'check')} failed: ${failed.join(', ')}`)
}

/** `latchkey doctor` */
export function doctorCommand (program: Command, terminal: Terminal): void {
  program.command('doctor').description('look for faults of the settings, the database and the machine, and change nothing')
    .option('--json', 'print a JSON object')
    .action((options: { json?: boolean }) => diagnose(terminal, options))
}
