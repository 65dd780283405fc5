// npm run breaking   exits 1 when openapi.yaml breaks what the last release promised, unless
// the Unreleased part of CHANGELOG.md has a heading Breaking that names each operation it breaks
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { apiDiff } from 'api-smart-diff'
import { parse } from 'yaml'

/** The operations (`POST /api/v1/login`) whose users would have to change something, sorted. */
export function brokenOperations (before: string, after: string): string[] {
  const broken = new Set<string>()
  for (const { type, path } of apiDiff(parse(before), parse(after))) {
    // What a component breaks, it breaks at the operations that use it.
    const [section, url, method] = path.map(String)
    if (type === 'breaking' && section === 'paths') broken.add(`${String(method ?? 'any').toUpperCase()} ${url}`)
  }
  return [...broken].sort()
}

/** The operations among these that the changelog does not declare as broken. */
export function undeclared (operations: string[], changelog: string): string[] {
  const [, unreleased = ''] = /^## Unreleased\n(.*?)(?=^## |$(?![\s\S]))/ms.exec(changelog) ?? []
  const [, breaking = ''] = /^### Breaking\n(.*?)(?=^### |$(?![\s\S]))/ms.exec(unreleased) ?? []
  return operations.filter((operation) => !breaking.includes(`\`${operation}\``))
}

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
