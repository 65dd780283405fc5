// Writes the code cache of the bundle: a server starts, serves the requests of a user, and ends.
import { resolve } from 'node:path'
import { visitServer } from './visit-server.js'

try {
  await visitServer(['--eval', `require(${JSON.stringify(resolve('dist/standalone/load-programs.cjs'))}).recordCodeCache().startServer()`])
} catch (error) {
  // Where no server can run, as without the native packages, a build is complete without it.
  console.warn(`no code cache was written, so that programs start more slowly: ${error.message}`)
}
