// Runs a program in modules of node:vm, as Jest and others do: there `import.meta` has a `url` and
// nothing else. The program is TypeScript on standard input.
// Run with: node --experimental-vm-modules test/vm-modules.js
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { SourceTextModule, SyntheticModule } from 'node:vm'
import { transformSync } from 'esbuild'

const modules = new Map()
const linked = new Map()

function sourceModule (url, source) {
  const { code } = transformSync(source, { loader: 'ts', format: 'esm', target: 'node20.19' })
  return new SourceTextModule(code, {
    identifier: url,
    initializeImportMeta (meta) { meta.url = url },
    importModuleDynamically: async (specifier, { identifier }) => evaluate(await resolveModule(specifier, identifier))
  })
}

async function externalModule (specifier) {
  const namespace = await import(specifier)
  return new SyntheticModule(Object.keys(namespace), function () {
    for (const [name, value] of Object.entries(namespace)) this.setExport(name, value)
  })
}

function resolveModule (specifier, parent) {
  const url = specifier.startsWith('.') ? new URL(specifier, parent).href.replace(/\.js$/, '.ts') : specifier
  const isOurs = url.startsWith('file:') && existsSync(fileURLToPath(url))
  if (!modules.has(url)) modules.set(url, isOurs ? sourceModule(url, readFileSync(fileURLToPath(url), 'utf8')) : externalModule(url))
  return modules.get(url)
}

async function evaluate (module) {
  if (!linked.has(module)) linked.set(module, module.link((specifier, { identifier }) => resolveModule(specifier, identifier)).then(() => module.evaluate()))
  await linked.get(module)
  return module
}

await evaluate(sourceModule(import.meta.url, readFileSync(0, 'utf8')))
