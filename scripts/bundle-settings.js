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

/**
 * Packages outside of the bundle that are loaded at startup: `require()` is faster than `import`,
 * which first looks for the names that a CommonJS package exports.
 */
const requireExternal = {
  name: 'require-external',
  setup (context) {
    const namespace = 'require-external'
    context.onResolve({ filter: /^[^./]/ }, ({ path, kind, namespace: importer }) =>
      kind === 'import-statement' && importer !== namespace && external.includes(path) ? { path, namespace } : undefined)
    context.onLoad({ filter: /.*/, namespace }, ({ path }) => ({ contents: `module.exports = require('${path}')`, resolveDir: source }))
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
  plugins: [keepUrl, requireExternal, lazyYaml],
  // CommonJS packages call require() for Node's own modules.
  banner: { js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);" }
}
