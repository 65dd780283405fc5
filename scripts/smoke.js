// Starts the built server, logs in, calls the guarded route, and stops the server.
import { resolve } from 'node:path'
import { visitServer } from './visit-server.js'

console.log(await visitServer([resolve('dist/server.cjs')]))
