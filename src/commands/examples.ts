import type { Command } from 'commander'

/** An example of each command, without the name of the program. */
const examples: Record<string, string> = {
  serve: 'serve --port 8080',
  migrate: 'migrate',
  'reset-db': 'reset-db --yes',
  secret: 'secret',
  'user create': 'user create alice --email alice@example.com --admin',
  'user list': 'user list --search al --limit 20',
  'user show': 'user show alice --json',
  'user delete': 'user delete alice',
  'user set-password': 'user set-password alice',
  'user reset': 'user reset alice --expires-in 3600',
  'user logout': 'user logout alice',
  'user unlock': 'user unlock alice',
  'user disable': 'user disable alice',
  'user enable': 'user enable alice',
  'user rename': 'user rename alice alice.smith',
  'user set-email': 'user set-email alice alice@example.com --verified',
  'user second-factor off': 'user second-factor off alice',
  unlock: 'unlock --address 203.0.113.7',
  'role grant': 'role grant alice editor',
  'role revoke': 'role revoke alice editor',
  'role list': 'role list --json',
  'role create': "role create editor --description 'May change articles.'",
  'role delete': 'role delete editor',
  'invite create': 'invite create --email grace@example.com --role editor --expires-in 86400',
  'invite list': 'invite list --json',
  'invite delete': 'invite delete q1rOFJ3mMB3GhXWDsRAyZbYs1Y0SkQ1b8tB7nqd0qFE',
  'token create': "token create alice --description 'backup script' --expires-in 86400",
  'token list': 'token list alice',
  'token revoke': 'token revoke alice 98dec353-8e32-4870-a0af-2f3448d4d932',
  events: 'events --user alice --kind login_failure --limit 20',
  export: 'export ~/latchkey.ndjson',
  import: 'import ~/latchkey.ndjson',
  backup: 'backup /var/backups/latchkey/2026-11-26.sqlite',
  restore: 'restore /var/backups/latchkey/2026-11-26.sqlite',
  doctor: 'doctor --json'
}

/** Adds an example to the help of each command that has one, and of its subcommands. */
export function addExamples (command: Command, path = ''): void {
  const example = examples[path]
  if (example !== undefined) command.addHelpText('after', `\nExample:\n  latchkey ${example}`)
  for (const subcommand of command.commands) addExamples(subcommand, `${path} ${subcommand.name()}`.trim())
}
