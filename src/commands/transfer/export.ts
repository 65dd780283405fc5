import { createWriteStream, rmSync } from 'node:fs'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { FastifyInstance } from 'fastify'
import { isNodeError } from '../../lib/error-code.js'
import { openNewFile } from '../../lib/new-file.js'
import { describeError } from '../../lib/system-error.js'
import { OutputError } from '../output.js'
import { CommandError, type Terminal } from '../terminal.js'
import type { ExportRecord } from './format.js'
import transfer from './repository.js'

async function * serialize (records: AsyncIterable<ExportRecord>): AsyncGenerator<string> {
  for await (const record of records) yield `${JSON.stringify(record)}\n`
}

/** Whether a stream could not be written, rather than the database read. */
function isWriteError (error: unknown): boolean {
  return isNodeError(error) && (error.syscall === 'write' || String(error.code).startsWith('ERR_STREAM_'))
}

/** Creates a file that only its owner can read: an attacker with the hashes can guess the passwords. */
function createExportFile (path: string): Writable {
  try {
    return createWriteStream(path, { fd: openNewFile(path) })
  } catch (error) {
    throw new CommandError(`cannot create ${path}: ${describeError(error)}`)
  }
}

/**
 * Writes an export to a new file, or to standard output without a path. Removes the file when
 * the export fails.
 *
 * @throws {CommandError} the file cannot be created
 * @throws {OutputError} the export cannot be written
 */
export async function writeExport (services: FastifyInstance, path: string | undefined, { stdout }: Terminal): Promise<void> {
  await services.register(transfer)
  const target = path === undefined ? stdout : createExportFile(path)
  try {
    await pipeline(Readable.from(serialize(services.transfer.read())), target, { end: path !== undefined })
    services.audit.record({ kind: 'export' })
  } catch (error) {
    if (path !== undefined) rmSync(path)
    throw isWriteError(error) ? new OutputError(error, path) : error
  }
}
