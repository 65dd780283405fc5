import { getSystemErrorMap } from 'node:util'
import { errorMessage, isNodeError } from './error-code.js'

/** Where the operating system's own words are hard to understand. */
const plainWords: Record<string, string> = {
  EADDRNOTAVAIL: 'this machine does not have the address',
  EAI_AGAIN: 'the host name cannot be looked up now',
  EISDIR: 'it is a folder',
  ENOSPC: 'the disk is full',
  ENOTDIR: 'a part of the path is not a folder',
  ENOTFOUND: 'the host name is unknown'
}

/**
 * What an error of Node or of the operating system means, in words: `no such file or directory`
 * for `ENOENT: no such file or directory, open 'x'`. The message of any other error.
 */
export function describeError (error: unknown): string {
  if (!isNodeError(error)) return errorMessage(error)
  const [, words] = getSystemErrorMap().get(error.errno ?? 0) ?? []
  return plainWords[String(error.code)] ?? words ?? error.message
}
