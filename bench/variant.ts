import { existsSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { build, type OnLoadResult, type Plugin } from 'esbuild'
import { bundleSettings, readModule } from '../scripts/bundle-settings.js'
import { temporaryFolder } from './cleanup.js'
import type { Part } from './parts.js'

const root = join(import.meta.dirname, '..')

/** The module without its part. @throws {Error} the text of the part is not there exactly once */
function withoutPart ({ name, file, find, replace = '' }: Part, path: string): OnLoadResult {
  if (find !== undefined) {
    const [before, after, ...more] = readModule(path).split(find)
    if (after === undefined || more.length > 0) throw new Error(`bench/parts.ts, ${name}: src/${file} must have exactly once: ${find}`)
    return { loader: 'ts', contents: `${before}${replace}${after}` }
  }
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

function leaveOut (part: Part, path: string): Plugin {
  return {
    name: 'leave-out',
    setup (context) {
      context.onResolve({ filter: /^original:/ }, (args) => ({ path: args.path.slice('original:'.length), namespace: 'original' }))
      context.onLoad({ filter: /./, namespace: 'original' }, () => ({ loader: 'ts', resolveDir: dirname(path), contents: readModule(path) }))
      context.onLoad({ filter: /\.ts$/, namespace: 'file' }, (args) => args.path === path ? withoutPart(part, path) : undefined)
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
  const path = join(root, 'src', part.file)
  if (!existsSync(path)) throw new Error(`bench/parts.ts, ${part.name}: src/${part.file} does not exist`)
  const folder = temporaryFolder()
  const { metafile } = await build({
    ...bundleSettings,
    absWorkingDir: root,
    entryPoints: ['src/server.ts'],
    outdir: join(folder, 'dist'),
    plugins: [leaveOut(part, path), ...bundleSettings.plugins],
    metafile: true
  })
  if (!Object.keys(metafile.inputs).includes(`src/${part.file}`)) throw new Error(`bench/parts.ts, ${part.name}: the server does not use src/${part.file}`)
  for (const shared of ['package.json', 'node_modules', 'dist/database', 'dist/data']) symlinkSync(join(root, shared), join(folder, shared))
  return join(folder, 'dist/server.js')
}
