/** The members that errors of Node, of drivers and of libraries have by convention. Anything can be thrown, so every member may be missing or of any type. */
interface ErrorMembers {
  name?: unknown
  message?: unknown
  stack?: unknown
  code?: unknown
  statusCode?: unknown
  headers?: unknown
  /** Of nodemailer: the code of the system's error; the status of the mail server, and the command that it answered. */
  originalCode?: unknown
  responseCode?: unknown
  command?: unknown
  /** Of http-errors: whether the message is meant for clients. */
  expose?: unknown
}

/** The members of a thrown value; none when it is not an object. */
export function errorMembers (error: unknown): ErrorMembers {
  return typeof error === 'object' && error !== null ? error : {}
}

/** Whether an error has a `code`, as those of Node's own modules have: `ENOENT`, `EADDRINUSE`. */
export function isNodeError (error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof errorMembers(error).code === 'string'
}

/** The `code` of an error, such as `ENOENT` or `SQLITE_BUSY`; undefined when it has none. */
export function errorCode (error: unknown): string | undefined {
  const { code } = errorMembers(error)
  return typeof code === 'string' ? code : undefined
}

/** The message of an error; a thrown value that is no error, as text. */
export function errorMessage (error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The stack of an error; a thrown value that is no error, as text. */
export function errorStack (error: unknown): string {
  return error instanceof Error ? String(error.stack) : String(error)
}
