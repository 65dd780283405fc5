// npm run openapi              generates openapi.yaml from the routes, and from it the client's types
// npm run openapi -- --check   exits 1 when the files are out of date or break a lint rule
import { readFileSync, writeFileSync } from 'node:fs'
import { formatProblems, getTotals, lintFromString, loadConfig as loadLintRules } from '@redocly/openapi-core'
import openapiTypescript, { astToString } from 'openapi-typescript'
import { buildApp } from '../src/app.js'
import { loadConfig } from '../src/standalone/config.js'
import { createSecretKey } from '../src/lib/secret-key.js'

const app = await buildApp(loadConfig({ DATABASE_URL: 'sqlite://', SECRET_KEY: createSecretKey(), LOG_LEVEL: 'silent' }))
await app.ready()
const document = app.swagger({ yaml: true })
await app.close()

const types = `// Generated from openapi.yaml by npm run openapi: the types of the contract.
${astToString(await openapiTypescript(document, { defaultNonNullable: false }))}`
const files = { 'openapi.yaml': document, 'src/client/contract.ts': types }

for (const [file, content] of Object.entries(files)) {
  if (!process.argv.includes('--check')) {
    writeFileSync(file, content)
  } else if (readFileSync(file, 'utf8') !== content) {
    console.error(`${file} is out of date: run npm run openapi and review the difference`)
    process.exit(1)
  }
}

const problems = await lintFromString({ source: document, absoluteRef: 'openapi.yaml', config: await loadLintRules({ configPath: 'redocly.yaml' }) })
formatProblems(problems, { totals: getTotals(problems), version: '', format: 'codeframe' })
console.log(`openapi.yaml: ${problems.length} problems`)
process.exit(problems.length === 0 ? 0 : 1)
