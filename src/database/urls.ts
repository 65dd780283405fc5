/**
 * Parses a PostgreSQL URL; `undefined` when it is none. The host may be left out, also after a
 * user, as where `?host=` names a Unix socket. A password whose special characters are not escaped
 * would be taken for a host, a port or a path: such a URL is rejected, so that no part of the
 * password is shown or looked up.
 *
 * @see https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
 */
export function parsePostgresUrl (url: string): URL | undefined {
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
