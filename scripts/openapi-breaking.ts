// npm run openapi:breaking   exits 1 when openapi.yaml has a breaking change since the last release
// that CHANGELOG.md does not declare under Unreleased, Breaking
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { apiDiff } from 'api-smart-diff'
import { parse } from 'yaml'

interface Contract {
  paths: Record<string, Record<string, { security?: object[] }>>
  components: { schemas: Record<string, unknown> }
}

/** The names of the components that a part of a document refers to, directly or through others. */
function componentsOf ({ components }: Pick<Contract, 'components'>, part: unknown, found = new Set<string>()): Set<string> {
  for (const [reference] of JSON.stringify(part).matchAll(/(?<=#\/components\/schemas\/)\w+/g)) {
    const name = String(reference)
    if (found.has(name)) continue
    found.add(name)
    componentsOf({ components }, components.schemas[name], found)
  }
  return found
}

/** Breaking changes that api-smart-diff classifies as compatible: another type or code in a response, fewer members in a request. */
function isBreakingAnyway (path: string[], action: string): boolean {
  if (path.includes('requestBody')) return path.includes('additionalProperties')
  return path.includes('responses') && path.some((name, i) => ['type', 'format', 'enum', 'const'].includes(name) && path[i - 1] !== 'properties') && (action === 'replace' || path.at(-2) === 'type')
}

/** The operations with a breaking change (`POST /api/v1/login`), sorted. */
export function brokenOperations (before: string, after: string): string[] {
  const old: Contract = parse(before)
  const broken = new Set<string>()
  for (const { type, action, path: parts } of apiDiff(old, parse(after))) {
    const path = parts.map(String)
    const [section, url] = path
    const method = String(path[2])
    if (type === 'annotation') continue
    if (section === 'paths' && (type === 'breaking' || isBreakingAnyway(path, action))) broken.add(`${method.toUpperCase()} ${url}`)
    if (section !== 'components') continue
    // A breaking change of a component affects every operation that uses it.
    for (const [where, item] of Object.entries(old.paths)) {
      for (const [verb, operation] of Object.entries(item)) {
        const isAffected = url === 'securitySchemes' ? Boolean(operation.security?.length) : type === 'breaking' && componentsOf(old, operation).has(method)
        if (isAffected) broken.add(`${verb.toUpperCase()} ${where}`)
      }
    }
  }
  return [...broken].sort()
}

/** The operations among these whose breaking change the changelog does not declare. */
export function undeclared (operations: string[], changelog: string): string[] {
  const [, unreleased = ''] = /^## Unreleased\n(.*?)(?=^## |$(?![\s\S]))/ms.exec(changelog) ?? []
  const [, breaking = ''] = /^### Breaking\n(.*?)(?=^### |$(?![\s\S]))/ms.exec(unreleased) ?? []
  return operations.filter((operation) => !breaking.includes(`\`${operation}\``))
}

/* c8 ignore start -- the command itself, which .ci/run runs */
const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()

/**
 * The contract of the last release; undefined before the first one.
 *
 * @throws {Error} the tag of the release is missing
 */
function released (changelog: string): string | undefined {
  const [, version] = /^## \[?(\d+\.\d+\.\d+)/m.exec(changelog) ?? []
  if (version === undefined) return undefined
  try {
    return git('show', `v${version}:openapi.yaml`)
  } catch {
    throw new Error(`CHANGELOG.md has a release ${version}, but the tag v${version} is missing: fetch the tags`)
  }
}

if (import.meta.url === pathToFileURL(String(process.argv[1])).href) {
  const changelog = readFileSync('CHANGELOG.md', 'utf8')
  const before = released(changelog)
  const missing = before === undefined ? [] : undeclared(brokenOperations(before, readFileSync('openapi.yaml', 'utf8')), changelog)
  console.log(before === undefined ? 'no release yet: no breaking changes' : `${missing.length} undeclared breaking changes`)
  for (const operation of missing) console.error(`${operation} has a breaking change: declare it under "### Breaking" in CHANGELOG.md`)
  process.exit(missing.length === 0 ? 0 : 1)
}
/* c8 ignore stop */
