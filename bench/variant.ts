import { existsSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { build, type OnLoadResult, type Plugin } from 'esbuild'
import { bundleSettings, readModule } from '../scripts/bundle-settings.js'
import { temporaryFolder } from './cleanup.js'
import type { Part } from './parts.js'

const root = join(import.meta.dirname, '..')
const source = join(root, 'src')

const pathOf = ({ file }: Part) => join(source, file)

/** The two pieces of a module around the text of its part. @throws {Error} the text is not there exactly once */
function around (part: Part, find: string): [string, string] {
  const [before = '', after, ...more] = readModule(pathOf(part)).split(find)
  if (after === undefined || more.length > 0) throw new Error(`bench/parts.ts, ${part.name}: src/${part.file} must have exactly once: ${find}`)
  return [before, after]
}

/**
 * Checks a list of parts against the source.
 *
 * @throws {Error} the file of a part, or its text, is gone: bench/parts.ts must be changed
 */
export function checkParts (parts: Part[]): void {
  for (const part of parts) {
    if (!existsSync(pathOf(part))) throw new Error(`bench/parts.ts, ${part.name}: src/${part.file} does not exist`)
    if (part.find !== undefined) around(part, part.find)
  }
}

function moduleWithout (part: Part): OnLoadResult {
  const { find, replace = '' } = part
  const path = pathOf(part)
  if (find !== undefined) return { loader: 'ts', contents: around(part, find).join(replace) }
  // The name of the plugin stays, because others depend on it.
  return {
    loader: 'ts',
    resolveDir: dirname(path),
    contents: `import plugin from ${JSON.stringify(`original:${path}`)}
      export * from ${JSON.stringify(`original:${path}`)}
      const nothing = async () => {}
      for (const key of Object.getOwnPropertySymbols(plugin)) nothing[key] = plugin[key]
      export default nothing`
  }
}

function leaveOut (part: Part): Plugin {
  const path = pathOf(part)
  return {
    name: 'leave-out',
    setup (context) {
      context.onResolve({ filter: /^original:/ }, (args) => ({ path: args.path.slice('original:'.length), namespace: 'original' }))
      context.onLoad({ filter: /./, namespace: 'original' }, () => ({ loader: 'ts', resolveDir: dirname(path), contents: readModule(path) }))
      context.onLoad({ filter: /\.ts$/, namespace: 'file' }, (args) => args.path === path ? moduleWithout(part) : undefined)
    }
  }
}

/**
 * Bundles the server without one part, and returns the path of its script. It uses the packages
 * and data of the project.
 *
 * @throws {Error} the part is not in the server: bench/parts.ts must be changed
 */
export async function buildWithout (part: Part): Promise<string> {
  checkParts([part])
  const folder = temporaryFolder()
  const { metafile } = await build({
    ...bundleSettings,
    absWorkingDir: root,
    entryPoints: ['src/server.ts'],
    outdir: join(folder, 'dist'),
    plugins: [leaveOut(part), ...bundleSettings.plugins],
    metafile: true
  })
  if (!Object.keys(metafile.inputs).includes(`src/${part.file}`)) throw new Error(`bench/parts.ts, ${part.name}: the server does not use src/${part.file}`)
  for (const shared of ['package.json', 'node_modules', 'dist/database', 'dist/data']) symlinkSync(join(root, shared), join(folder, shared))
  return join(folder, 'dist/server.cjs')
}
