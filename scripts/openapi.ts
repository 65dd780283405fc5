// npm run openapi              writes openapi.yaml
// npm run openapi -- --check   exits 1 when openapi.yaml is not what the routes say, or breaks a lint rule
import { readFileSync, writeFileSync } from 'node:fs'
import { formatProblems, getTotals, lintFromString, loadConfig as loadLintRules } from '@redocly/openapi-core'
import { buildApp } from '../src/app.js'
import { loadConfig } from '../src/config.js'
import { createSecretKey } from '../src/lib/secret-keys.js'

const file = 'openapi.yaml'
const app = await buildApp(loadConfig({ DATABASE_URL: 'sqlite://', SECRET_KEY: createSecretKey(), LOG_LEVEL: 'silent' }))
await app.ready()
const document = app.swagger({ yaml: true })
await app.close()

if (process.argv.includes('--check')) {
  if (readFileSync(file, 'utf8') !== document) {
    console.error(`${file} is not what the routes say: run npm run openapi and review the difference`)
    process.exit(1)
  }
} else {
  writeFileSync(file, document)
}

const problems = await lintFromString({ source: document, absoluteRef: file, config: await loadLintRules({ configPath: 'redocly.yaml' }) })
formatProblems(problems, { totals: getTotals(problems), version: '', format: 'codeframe' })
console.log(`${file}: ${problems.length} problems`)
process.exit(problems.length === 0 ? 0 : 1)
