// How esbuild bundles the server and the command line: scripts/bundle.js and the benchmark share it.
import { readFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'

const source = resolve(import.meta.dirname, '../src')

// Not bundled: native packages, packages that read files next to their code, and packages that
// are loaded only when needed.
const external = [
  'better-sqlite3', '@node-rs/argon2', '@node-rs/bcrypt', 'pg', 'pino-pretty', 'prom-client', 'light-my-request',
  '@fastify/swagger-ui', '@fastify/ajv-compiler', '@fastify/fast-json-stringify-compiler'
]

/** The source of a module, with `import.meta.url` replaced, so that it finds its files when it is bundled. */
export function readModule (path) {
  return readFileSync(path, 'utf8').replaceAll('import.meta.url', `new URL(${JSON.stringify(`./${relative(source, path)}`)}, import.meta.url)`)
}

const keepUrl = {
  name: 'keep-url',
  setup (context) {
    context.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => ({ loader: 'ts', contents: readModule(path) }))
  }
}

/** Options of esbuild's `build`, without entry points and output. */
export const bundleSettings = {
  chunkNames: 'bundle-[hash]',
  bundle: true,
  splitting: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  // Identifiers are not minified: stacks in logs stay readable.
  minifySyntax: true,
  minifyWhitespace: true,
  external,
  plugins: [keepUrl],
  // CommonJS packages call require() for Node's own modules.
  banner: { js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);" }
}
