/**
 * The parts of a PostgreSQL URL; `undefined` when it is none. The host may be left out
 * also behind a user, as where `?host=` names a Unix socket.
 *
 * @see https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
 */
export function parsePostgresUrl (url: string): URL | undefined {
  if (!/^postgres(?:ql)?:\/\//.test(url)) return undefined
  const text = url.replace('@/', '@localhost/')
  return URL.canParse(text) ? new URL(text) : undefined
}

/** A database's URL as it can be shown: without the credentials, which can also stand in its query. */
export function printableUrl (url: string): string {
  if (url.startsWith('sqlite:')) return url
  const { protocol, host, pathname, searchParams } = parsePostgresUrl(url) ?? new URL('postgres:')
  return `${protocol}//${searchParams.get('host') ?? host}${pathname}`
}
