import { run } from './commands/index.js'

const { env, stdin, stdout, stderr } = process
run(process.argv.slice(2), { env, stdin, stdout, stderr, serve: () => import('./server.js') }).then((exitCode) => {
  process.exitCode = exitCode
})
