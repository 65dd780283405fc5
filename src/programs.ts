// The bundle: both programs in one file, because they share nearly all of their code.

/** Runs `src/server.ts`. */
export const startServer = (): Promise<unknown> => import('./server.js')

/** Runs `src/cli.ts`. */
export const runCommand = (): Promise<unknown> => import('./cli.js')
