// npm run openapi:breaking   exits 1 when openapi.yaml breaks what the last release promised, unless
// the Unreleased part of CHANGELOG.md has a heading Breaking that names each operation it breaks
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { apiDiff } from 'api-smart-diff'
import { parse } from 'yaml'

interface Contract {
  paths: Record<string, Record<string, { security?: object[] }>>
  components: { schemas: Record<string, unknown> }
}

/** The components that something uses, also by way of others. */
function componentsOf ({ components }: Pick<Contract, 'components'>, something: unknown, found = new Set<string>()): Set<string> {
  for (const [reference] of JSON.stringify(something).matchAll(/(?<=#\/components\/schemas\/)\w+/g)) {
    const name = String(reference)
    if (found.has(name)) continue
    found.add(name)
    componentsOf({ components }, components.schemas[name], found)
  }
  return found
}

/** What the tool takes for harmless, and is not: an answer of another type, with other codes; a request that takes less. */
function isBreachOfItsOwn (path: string[], action: string): boolean {
  if (path.includes('requestBody')) return path.includes('additionalProperties')
  return path.includes('responses') && path.some((part, i) => ['type', 'format', 'enum', 'const'].includes(part) && path[i - 1] !== 'properties') && (action === 'replace' || path.at(-2) === 'type')
}

/** The operations (`POST /api/v1/login`) whose users would have to change something, sorted. */
export function brokenOperations (before: string, after: string): string[] {
  const old: Contract = parse(before)
  const broken = new Set<string>()
  for (const { type, action, path: parts } of apiDiff(old, parse(after))) {
    const path = parts.map(String)
    const [section, url] = path
    const method = String(path[2])
    if (type === 'annotation') continue
    if (section === 'paths' && (type === 'breaking' || isBreachOfItsOwn(path, action))) broken.add(`${method.toUpperCase()} ${url}`)
    if (section !== 'components') continue
    // What a component breaks, it breaks wherever it is used.
    for (const [where, item] of Object.entries(old.paths)) {
      for (const [verb, operation] of Object.entries(item)) {
        const isHit = url === 'securitySchemes' ? (operation.security ?? []).length > 0 : type === 'breaking' && componentsOf(old, operation).has(method)
        if (isHit) broken.add(`${verb.toUpperCase()} ${where}`)
      }
    }
  }
  return [...broken].sort()
}

/** The operations among these that the changelog does not declare as broken. */
export function undeclared (operations: string[], changelog: string): string[] {
  const [, unreleased = ''] = /^## Unreleased\n(.*?)(?=^## |$(?![\s\S]))/ms.exec(changelog) ?? []
  const [, breaking = ''] = /^### Breaking\n(.*?)(?=^### |$(?![\s\S]))/ms.exec(unreleased) ?? []
  return operations.filter((operation) => !breaking.includes(`\`${operation}\``))
}

/* c8 ignore start -- the command itself, which every check of a change runs */
const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()

/** The contract of the last release; undefined where there was none. */
function released (changelog: string): string | undefined {
  const [, version] = /^## \[?(\d+\.\d+\.\d+)/m.exec(changelog) ?? []
  if (version === undefined) return undefined
  try {
    return git('show', `v${version}:openapi.yaml`)
  } catch {
    throw new Error(`CHANGELOG.md has a release ${version}, and there is no tag v${version}: fetch the tags`)
  }
}

if (import.meta.url === pathToFileURL(String(process.argv[1])).href) {
  const changelog = readFileSync('CHANGELOG.md', 'utf8')
  const before = released(changelog)
  const missing = before === undefined ? [] : undeclared(brokenOperations(before, readFileSync('openapi.yaml', 'utf8')), changelog)
  console.log(before === undefined ? 'nothing was released yet: there is nothing to break' : `${missing.length} undeclared breaking changes`)
  for (const operation of missing) console.error(`${operation} breaks what was released: declare it under "### Breaking" in CHANGELOG.md`)
  process.exit(missing.length === 0 ? 0 : 1)
}
/* c8 ignore stop */
