// How esbuild bundles the server and the command line: scripts/bundle.js and the benchmark share it.
import { readFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'

const source = resolve(import.meta.dirname, '../src')

// Not bundled: native packages, packages that read files next to their code, and packages that
// are loaded only when needed.
const external = [
  'better-sqlite3', '@node-rs/argon2', '@node-rs/bcrypt', 'pg', 'pino-pretty', 'prom-client', 'light-my-request', 'nodemailer',
  '@fastify/swagger-ui', '@fastify/ajv-compiler', '@fastify/fast-json-stringify-compiler'
]

/** The source of a module, in which files are found from the bundle's place. */
export function readModule (path) {
  return readFileSync(path, 'utf8').replaceAll('import.meta.url', `new URL(${JSON.stringify(`./${relative(source, path)}`)}, import.meta.url)`)
}

const keepUrl = {
  name: 'keep-url',
  setup (context) {
    context.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => ({ loader: 'ts', contents: readModule(path) }))
  }
}

/** @fastify/swagger loads the package `yaml`, which is large, at startup: it is loaded with the first `/openapi.yaml` instead. */
const lazyYaml = {
  name: 'lazy-yaml',
  setup (context) {
    const namespace = 'lazy-yaml'
    context.onResolve({ filter: /^yaml$/ }, ({ path, namespace: importer }) => importer === namespace ? { path, external: true } : { path, namespace })
    context.onLoad({ filter: /.*/, namespace }, () => ({ contents: "exports.stringify = (...args) => require('yaml').stringify(...args)" }))
  }
}

/** Options of esbuild's `build`, without entry points and output. */
export const bundleSettings = {
  bundle: true,
  platform: 'node',
  // ES modules cannot be loaded from a code cache.
  format: 'cjs',
  // Nor does import() work in what is loaded from one: it becomes require().
  supported: { 'dynamic-import': false },
  outExtension: { '.js': '.cjs' },
  target: 'node20.19',
  // Identifiers are not minified: stacks in logs stay readable.
  minifySyntax: true,
  minifyWhitespace: true,
  // They are in dist/THIRD-PARTY-NOTICES.txt. Everything else is written in ASCII, which takes half of the memory.
  legalComments: 'none',
  external,
  plugins: [keepUrl, lazyYaml],
  define: { 'import.meta.url': 'bundleUrl' },
  // Strict, as the modules were.
  banner: { js: "'use strict'; const bundleUrl = require('node:url').pathToFileURL(__filename).href;" }
}
