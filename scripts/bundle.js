// Bundles the server and the command line with their packages into one file: opening a thousand
// files would take most of the startup time. Apps that embed Latchkey get the unbundled files, and
// use their own packages.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { build } from 'esbuild'
import { bundleSettings } from './bundle-settings.js'

const { metafile } = await build({
  ...bundleSettings,
  entryPoints: ['src/programs.ts'],
  entryNames: '[name]-[hash]',
  outdir: 'dist',
  metafile: true
})
const bundle = basename(Object.keys(metafile.outputs)[0])

// What Node starts.
await build({
  entryPoints: ['src/server.cts', 'src/cli.cts', 'src/standalone/thread-pool.cts', 'src/standalone/load-programs.cts'],
  outdir: 'dist',
  outExtension: { '.js': '.cjs' },
  platform: 'node',
  format: 'cjs',
  target: 'node20.19',
  define: { bundleName: JSON.stringify(bundle) }
})

// Only now: a build that fails leaves the programs as they were.
for (const name of readdirSync('dist')) if (name.startsWith('programs-') && !name.startsWith(bundle)) rmSync(join('dist', name))

// The licenses require their texts to be distributed with the code. Some packages contain none:
// their text comes from another package with the same license.
const sameLicense = { 'Apache-2.0': 'node_modules/typescript/LICENSE.txt', MIT: 'node_modules/pino/LICENSE' }
const folders = new Set(Object.keys(metafile.inputs).flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? []))
const notices = [...folders].sort().map((folder) => {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const own = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file))
  const text = own === undefined ? sameLicense[license] : join(folder, own)
  if (text === undefined) throw new Error(`${name} contains no text of its license, ${license}`)
  return `${name} ${version} (${license})\n\n${readFileSync(text, 'utf8')}`
})
writeFileSync('dist/THIRD-PARTY-NOTICES.txt', notices.join(`\n${'-'.repeat(80)}\n\n`))
