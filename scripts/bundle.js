// Puts what the server and the command are made of, ours and others', into a few files each:
// to find and to open a thousand of them would be most of the start. Whoever embeds Latchkey
// gets it as it is, on the packages that they have.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { build } from 'esbuild'

// What is not JavaScript, what is looked up by its path, and what is loaded when it is needed, if ever.
const external = [
  'better-sqlite3', '@node-rs/argon2', '@node-rs/bcrypt', 'pg', 'pino-pretty', 'prom-client', 'light-my-request',
  '@fastify/swagger-ui', '@fastify/ajv-compiler', '@fastify/fast-json-stringify-compiler'
]

/** A module of ours finds its files where it would be, wherever its code is. */
const whereItWas = {
  name: 'where-it-was',
  setup (context) {
    context.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => ({
      loader: 'ts',
      contents: readFileSync(path, 'utf8').replaceAll('import.meta.dirname', `(import.meta.dirname + ${JSON.stringify(`/${relative('src', dirname(path))}`)})`)
    }))
  }
}

const { metafile } = await build({
  entryPoints: ['src/server.ts', 'src/cli.ts'],
  outdir: 'dist',
  chunkNames: 'bundle-[hash]',
  bundle: true,
  splitting: true,
  metafile: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  // Names stay: they are what a stack in a log is read by.
  minifySyntax: true,
  minifyWhitespace: true,
  external,
  plugins: [whereItWas],
  // Packages in CommonJS ask for Node's own modules by it.
  banner: { js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);" }
})

const written = Object.keys(metafile.outputs).map((path) => basename(path))
for (const name of readdirSync('dist')) if (name.startsWith('bundle-') && !written.includes(name)) rmSync(join('dist', name))

// Their licenses ask for their texts to go where their code goes.
// Some bring none: another package with the same one does, of the same people where it names them.
const sameLicense = { 'Apache-2.0': 'node_modules/typescript/LICENSE.txt', MIT: 'node_modules/pino/LICENSE' }
const folders = new Set(Object.keys(metafile.inputs).flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? []))
const notices = [...folders].sort().map((folder) => {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const own = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file))
  const text = own === undefined ? sameLicense[license] : join(folder, own)
  if (text === undefined) throw new Error(`${name} brings no text of its license, ${license}`)
  return `${name} ${version} (${license})\n\n${readFileSync(text, 'utf8')}`
})
writeFileSync('dist/THIRD-PARTY-NOTICES.txt', notices.join(`\n${'-'.repeat(80)}\n\n`))
