import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import Database from 'better-sqlite3'
import { errorCode } from '../../lib/error-code.js'
import { StoreError } from '../store-error.js'

/** How a package manager builds better-sqlite3. */
interface PackageManager {
  /** A file that it leaves in `node_modules`. */
  leaves: string
  /** Permits the install script, which npm 12, pnpm 10 and Yarn 4 do not run by themselves, and runs it. */
  build: string
  /** Runs an install script that has run before. */
  rebuild: string
}

const npm = {
  leaves: '.package-lock.json',
  build: 'npm pkg set allowScripts.better-sqlite3=true --json && npm rebuild better-sqlite3',
  rebuild: 'npm rebuild better-sqlite3'
}
const pnpm = {
  leaves: '.modules.yaml',
  build: 'pnpm approve-builds',
  rebuild: 'pnpm rebuild better-sqlite3'
}
const yarn = {
  leaves: '.yarn-state.yml',
  build: 'npm pkg set dependenciesMeta.better-sqlite3.built=true --json && yarn rebuild better-sqlite3',
  rebuild: 'yarn rebuild better-sqlite3'
}
const packageManagers: PackageManager[] = [npm, pnpm, yarn]

/** The package managers that may have installed a file: the one whose mark is in a folder above it; npm and pnpm when there is none. */
function installersOf (file: string): PackageManager[] {
  for (let folder = dirname(file); folder !== dirname(folder); folder = dirname(folder)) {
    const installers = packageManagers.filter(({ leaves }) => existsSync(join(folder, leaves)))
    if (installers.length > 0) return installers
  }
  return [npm, pnpm]
}

/** A better-sqlite3 of which only the JavaScript is installed, or whose native module does not fit. */
function explain (error: unknown, file: string): string {
  const isBuilt = errorCode(error) === 'ERR_DLOPEN_FAILED'
  const commands = installersOf(file).map(({ build, rebuild }) => `\`${isBuilt ? rebuild : build}\``)
  const problem = isBuilt ? 'better-sqlite3 was built for another version of Node.js or another platform' : 'better-sqlite3 was not built, because its install script did not run'
  return `${problem}: run ${commands.join(' or ')} in the folder of package.json`
}

/** Loads the native module, which stays loaded. */
const loadNativeModule = () => { new Database(':memory:').close() }

/**
 * Loads the native module of better-sqlite3, before anything is created on disk.
 *
 * @param load loads it
 * @param file a file of the package, as it is installed
 * @throws {StoreError} it was not built, or not for this Node.js; the message has the command that builds it
 */
export function requireNativeModule (load = loadNativeModule, file = createRequire(import.meta.url).resolve('better-sqlite3')): void {
  try {
    load()
  } catch (error) {
    throw new StoreError(explain(error, file), { cause: error })
  }
}
