import { printable } from '../lib/printable.js'

/** What a database's URL looks like, as the end of a sentence that begins with its name. */
export const databaseUrlRule = 'must be like sqlite:///relative/path, sqlite:////absolute/path, sqlite:// or postgres://user:password@host:port/database'

/**
 * Parses a PostgreSQL URL; `undefined` when it is none. The host may be left out, also after a
 * user, as where `?host=` names a Unix socket. A password whose special characters are not escaped
 * would be taken for a host, a port or a path: such a URL is rejected, so that no part of the
 * password is shown or looked up.
 *
 * @see https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
 */
function parsePostgresUrl (url: string): URL | undefined {
  if (!/^postgres(?:ql)?:\/\//.test(url)) return undefined
  const text = url.replace('@/', '@localhost/')
  if (/[\s#]/.test(text) || !URL.canParse(text)) return undefined
  const { pathname, search } = new URL(text)
  return /^\/?[^/@]*$/.test(pathname) && !search.includes('@') ? new URL(text) : undefined
}

/** A database's URL as it can be shown: without credentials, which its query can contain as well. */
export function printableUrl (url: string): string {
  if (url.startsWith('sqlite:')) return url
  const { protocol, host, pathname, searchParams } = parsePostgresUrl(url) ?? new URL('postgres:')
  return `${protocol}//${searchParams.get('host') ?? host}${pathname}`
}

/** The parameters of a database's URL. */
export function parametersOf (url: string): URLSearchParams {
  return new URLSearchParams(url.split('?')[1])
}

/** A name from a URL, for a message; nothing where it can be a part of a password that was not escaped. */
function shownName (name: string): string {
  return /^[\w-]{1,40}$/.test(name) ? ` "${name}"` : ''
}

/** A SQLite URL without its third slash, where the name of a file would be taken for a host. */
const twoSlashes = /^sqlite:\/\/(?!:memory:$)([^/@]{1,100}(?:\/[^@]{0,100})?)$/

function sqliteProblem (url: string): string | undefined {
  const [, mark, rest = ''] = /([?#])(.*)$/s.exec(url) ?? []
  if (mark !== undefined) {
    const [name = ''] = rest.split(/[=&#]/, 1)
    return `must not have ${mark === '?' ? 'the parameter' : 'the fragment'}${shownName(name)}: the path of a SQLite database has no ? and no #`
  }
  const path = twoSlashes.exec(url)?.[1]
  if (path !== undefined) return `must have three slashes for a file: sqlite:///${printable(path).slice(1, -1)}`
  return /^sqlite:\/\/(?:$|\/|:memory:$)/.test(url) ? undefined : databaseUrlRule
}

/** The parameters that a PostgreSQL URL may have. The driver would silently ignore any other, also a misspelt `sslmode`. */
const parameterNames = ['sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'channel_binding', 'connect_timeout', 'application_name', 'host']

/**
 * Parameters of which only some values are permitted. Of `sslmode`, those that protect what they
 * promise to protect: an attacker who can listen can also make `allow` and `prefer` fall back to
 * plain text. `connect_timeout` has the maximum of the setting that it replaces.
 * @see https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
 */
const parameterValues = {
  sslmode: { pattern: /^(?:disable|require|verify-ca|verify-full)$/, rule: 'disable, require, verify-ca or verify-full' },
  channel_binding: { pattern: /^(?:disable|prefer|require)$/, rule: 'disable, prefer or require' },
  connect_timeout: { pattern: /^(?:[1-5]?[1-9]|[1-6]0)$/, rule: 'an integer from 1 to 60 (seconds)' }
}

function postgresProblem ({ searchParams }: URL): string | undefined {
  const names = [...searchParams.keys()]
  for (const [i, name] of names.entries()) {
    if (!parameterNames.includes(name)) return `must not have the parameter${shownName(name)}: it can have ${parameterNames.join(', ')}`
    if (names.indexOf(name) < i) return `must set ${name} only once`
  }
  for (const [name, { pattern, rule }] of Object.entries(parameterValues)) {
    const value = searchParams.get(name)
    if (value !== null && !pattern.test(value)) return `must set ${name} to ${rule}`
  }
  // Without TLS there is no channel to bind to.
  const isEncrypted = ![null, 'disable'].includes(searchParams.get('sslmode'))
  if (searchParams.get('channel_binding') === 'require' && !isEncrypted) return 'must set sslmode to require, verify-ca or verify-full, because it sets channel_binding to require'
}

/**
 * What is wrong with a database's URL, as the end of a sentence that begins with its name;
 * `undefined` if nothing is. Names parameters, but never their values, which can be secret.
 */
export function databaseUrlProblem (url: string): string | undefined {
  if (url.startsWith('sqlite://')) return sqliteProblem(url)
  const parsed = parsePostgresUrl(url)
  return parsed === undefined ? databaseUrlRule : postgresProblem(parsed)
}
