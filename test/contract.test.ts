import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import createError from '@fastify/error'
import { type TSchema, Type } from '@sinclair/typebox'
import { Ajv2020 } from 'ajv/dist/2020.js'
import t from 'tap'
import { parse } from 'yaml'
import { EmbeddingOptions, Settings } from '../src/options.js'
import errors from '../src/plugins/errors/index.js'
import { ref } from '../src/schema-ref.js'
import { environmentName } from '../src/standalone/config.js'
import { build, proxyBelow, tokenOf } from './helper.js'

const root = resolve(import.meta.dirname, '..')
const methods = ['get', 'put', 'post', 'delete', 'patch'] as const

interface Operation {
  operationId: string
  tags: string[]
  summary: string
  description: string
  security: object[]
  responses: Record<string, { description: string, content?: Record<string, { schema: { allOf?: Array<{ properties?: { code?: { enum?: string[] } } }> }, examples?: Record<string, { value: { code?: string } }> }> }>
}

t.test('openapi.yaml', async (t) => {
  const app = await build(t)
  const yaml = (await app.inject('/openapi.yaml')).body
  const document = (await app.inject('/openapi.json')).json()
  const operations: Array<[string, Operation]> = Object.entries<Record<string, Operation>>(document.paths)
    .flatMap(([path, item]) => methods.flatMap((method) => {
      const operation = item[method]
      return operation === undefined ? [] : [[`${method.toUpperCase()} ${path}`, operation] satisfies [string, Operation]]
    }))

  t.test('is what the routes say · if this fails: npm run openapi, then review the difference', async (t) => {
    t.equal(readFileSync(join(root, 'openapi.yaml'), 'utf8'), yaml)
  })

  t.test('is the same with other settings', async (t) => {
    const other = await build(t, { SIGNUP: 'closed', LOGIN_ERRORS: 'uniform', LOGIN_FAILURES_PER_ACCOUNT: '0', AUDIT_RETENTION_DAYS: '0', METRICS_PORT: '0', PASSWORD_MIN_LENGTH: '20', TOKEN_TTL_SECONDS: '60', PORT: '9', CORS_ORIGIN: 'https://app.example.com' })
    t.equal((await other.inject('/openapi.yaml')).body, yaml)
  })

  t.test('a guarded route that is added → documented with the guard and its own errors', async (t) => {
    const app = await build(t)
    const NotYours = createError('NOT_YOURS', 'this is not yours', 403)
    await app.register(async (scope) => {
      await scope.register(errors)
      scope.get('/mine', { preHandler: [app.authenticate], config: { errors: [NotYours] }, schema: { tags: ['Mine'] } }, async () => { throw new NotYours() })
      scope.get('/hidden', { schema: { hide: true } }, async () => { throw Object.assign(new Error('a secret'), { statusCode: 418 }) })
      // eslint-disable-next-line no-throw-literal -- some libraries do
      scope.get('/literal', async () => { throw 'a secret' })
    })
    const operation = (await app.inject('/openapi.json')).json().paths['/mine'].get
    t.same(operation.security, [{ bearerAuth: [] }])
    t.same(Object.keys(operation.responses), ['400', '401', '403', '500', '503'])
    t.match((await app.inject({ url: '/mine', headers: { authorization: await tokenOf(app) } })).json(), { statusCode: 403, code: 'NOT_YOURS' })
    t.match((await app.inject('/hidden')).json(), { statusCode: 418, code: 'IM_A_TEAPOT', message: "I'm a Teapot" })
    t.match((await app.inject('/literal')).json(), { statusCode: 500, code: 'INTERNAL_SERVER_ERROR', message: 'Internal Server Error' })
  })

  t.test('a scope that is guarded by addHook → its routes are documented with the guard, in the order of the others', async (t) => {
    const app = await build(t)
    await app.register(async (scope) => {
      await scope.register(errors)
      scope.post('/mine', { schema: { tags: ['Mine'], body: { type: 'object' } } }, async () => ({}))
      scope.addHook('preHandler', app.requireRole('editor'))
    })
    const operation: Operation = (await app.inject('/openapi.json')).json().paths['/mine'].post
    t.same(operation.security, [{ bearerAuth: [] }])
    t.same(Object.keys(operation.responses), ['400', '401', '403', '413', '415', '422', '500', '503'])
    t.same(Object.keys(operation.responses[400]?.content?.['application/json']?.examples ?? {}), ['AUTHORIZATION_MISSING', 'TOKEN_CLAIMS_INVALID', 'USER_NOT_FOUND', 'BODY_MALFORMED'])
  })

  t.test('GET /openapi.yaml, /openapi.json → their media types', async (t) => {
    t.match((await app.inject('/openapi.yaml')).headers['content-type'], /^application\/yaml/)
    t.match((await app.inject('/openapi.json')).headers['content-type'], /^application\/json/)
    t.equal(document.openapi, '3.1.0')
  })

  t.test('names its components', async (t) => {
    t.match(Object.keys(document.components.schemas), ['ErrorResponse', 'ValidationErrorResponse', 'User', 'Account', 'SignupRequest', 'SignupResponse', 'PasswordChange', 'AccountDeletion', 'UsernameChange', 'EmailChange', 'EmailVerification', 'LoginRequest', 'LoginResponse', 'Message', 'Token', 'TokenList', 'TokenRequest', 'NewToken', 'PasswordResetRequest', 'PasswordReset', 'ManagedUser', 'UserList', 'UserDetails', 'NewUserRequest', 'NewUser', 'ResetCodeRequest', 'ResetCode', 'Role', 'RoleList', 'InviteRequest', 'NewInvite', 'Invite', 'InviteList', 'Event', 'EventList', 'Health'])
    t.notMatch(yaml, /def-\d/)
    t.same(Object.keys(document.components.securitySchemes), ['bearerAuth'])
  })

  t.test('describes every operation', async (t) => {
    t.equal(new Set(operations.map(([, { operationId }]) => operationId)).size, operations.length)
    for (const [name, operation] of operations) {
      t.match(operation, { operationId: /^[a-z]\w+$/, tags: [String], summary: /\S/, description: /\S/, security: Array }, name)
      t.equal(operation.tags.length, 1)
      t.ok(Object.keys(operation.responses).some((status) => status.startsWith('2')))
    }
  })

  t.test('a parameter or a member that has a default is not required', async (t) => {
    let defaults = 0
    const visit = (value: unknown, path: string): void => {
      if (typeof value !== 'object' || value === null) return
      const { required, properties, schema }: { required?: unknown, properties?: Record<string, object>, schema?: object } = value
      if (schema !== undefined && 'default' in schema) {
        defaults++
        t.not(required, true, path)
      }
      for (const [name, property] of Object.entries(properties ?? {})) {
        if (!('default' in property)) continue
        defaults++
        t.notOk(Array.isArray(required) && required.includes(name), `${path}/${name}`)
      }
      for (const [name, member] of Object.entries(value)) visit(member, `${path}/${name}`)
    }
    visit(document, '')
    t.ok(defaults >= 4, String(defaults))
  })

  t.test('documents what is enforced: the guard, the body, the codes', async (t) => {
    const codes = ({ responses }: Operation, status: number) =>
      responses[status]?.content?.['application/json']?.schema.allOf?.flatMap(({ properties }) => properties?.code?.enum ?? []) ?? []
    const guarded = operations.filter(([, { security }]) => security.length > 0)
    t.same(operations.filter(([name]) => !guarded.some(([other]) => other === name)).map(([name]) => name), ['POST /api/v1/signup', 'PUT /api/v1/email-verification', 'POST /api/v1/login', 'PUT /api/v1/password-reset', 'POST /api/v1/password-reset', 'GET /', 'GET /health/live', 'GET /health/ready'])
    for (const [name, operation] of guarded) {
      t.same(operation.security, [{ bearerAuth: [] }], name)
      t.same(codes(operation, 400).slice(0, 3), ['AUTHORIZATION_MISSING', 'TOKEN_CLAIMS_INVALID', 'USER_NOT_FOUND'])
      t.same(codes(operation, 401).slice(0, 3), ['TOKEN_INVALID', 'TOKEN_EXPIRED', 'TOKEN_REVOKED'])
    }
    const find = (name: string): Operation => {
      const [, operation] = operations.find(([candidate]) => candidate === name) ?? []
      if (operation === undefined) throw new Error(`${name} is not documented`)
      return operation
    }
    const login = find('POST /api/v1/login')
    t.same(Object.keys(login.responses), ['200', '400', '401', '403', '404', '413', '415', '422', '429', '500', '503'])
    t.same(codes(login, 401), ['PASSWORD_INCORRECT', 'CREDENTIALS_INCORRECT'])
    t.same(codes(login, 404), ['USERNAME_UNKNOWN'])
    const signup = find('POST /api/v1/signup')
    t.same(Object.keys(signup.responses), ['200', '400', '403', '409', '413', '415', '422', '429', '500', '503'])
    t.same(codes(signup, 403), ['SIGNUP_CLOSED', 'INVITE_REQUIRED', 'CODE_INVALID'])
    t.same(codes(signup, 409), ['USERNAME_TAKEN', 'EMAIL_TAKEN'])
    for (const [name, { responses }] of operations) {
      for (const [status, { content = {} }] of Object.entries(responses)) {
        if (status.startsWith('2')) continue
        const { schema, examples } = content['application/json'] ?? {}
        t.same(Object.values(examples ?? {}).map(({ value }) => value.code), schema?.allOf?.[1]?.properties?.code?.enum, `${name} ${status} has an example a code`)
      }
    }
  })
})

t.test('GET /docs/ · Swagger UI and all its files → 200, at the root and below a path of a proxy', async (t) => {
  const app = await build(t)
  const direct = await app.listen({ host: '127.0.0.1', port: 0 })
  t.match(await app.inject('/docs'), { statusCode: 302, headers: { location: 'docs/' } })
  t.match(await app.inject('/docs/static/index.html'), { statusCode: 302, headers: { location: '../' } })
  for (const [root, origin] of [[`${direct}/`, direct], ...await Promise.all(['/auth/', '/a/b/'].map(async (path) => {
    const origin = await proxyBelow(t, path, direct)
    return [origin + path, origin] as const
  }))] as const) {
    for (const start of ['docs', 'docs/', 'docs/?x=1', 'docs/static/index.html']) {
      const page = await fetch(root + start)
      t.match(page, { status: 200, url: `${root}docs/${start.includes('?') ? '?x=1' : ''}` })
      const html = await page.text()
      t.match(html, /<title>Latchkey · API<\/title>/)
      const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link = '']) => new URL(link, page.url).href)
      t.ok(links.length >= 6)
      for (const link of links) {
        const file = await fetch(link)
        // What is not read keeps the connection busy.
        await file.arrayBuffer()
        t.match(file, { status: 200, url: new RegExp(`^${root}docs/static/`) }, link)
      }
      t.notMatch(page.headers.get('content-security-policy'), /upgrade-insecure-requests|https:/)
    }
    t.match(await (await fetch(`${root}docs/static/swagger-initializer.js`)).text(), /"persistAuthorization":true/)
    for (const name of ['openapi.json', 'openapi.yaml', 'docs/json']) {
      const answer = await fetch(root + name)
      const { servers } = parse(await answer.text())
      t.equal(new URL(servers[0].url, answer.url).href, root, `${name} · its server is where it was found`)
      t.equal(servers.length, 1)
    }
    t.equal((await fetch(`${root}api/v1/me`)).status, 400)
    t.equal((await fetch(`${origin}/elsewhere`)).status, origin === direct ? 404 : 418, 'what is not below the path is not ours')
  }
})

t.test('schemas · every one is valid JSON Schema', async (t) => {
  const app = await build(t)
  const ajv = new Ajv2020({ strict: false })
  const schemas = Object.values(app.getSchemas())
  const { paths } = JSON.parse((await app.inject('/openapi.json')).body)
  for (const operations of Object.values<Record<string, { parameters?: Array<{ schema: object }>, requestBody?: { content: Record<string, { schema: object }> } }>>(paths)) {
    for (const { parameters = [], requestBody = { content: {} } } of Object.values(operations)) {
      schemas.push(...parameters.map(({ schema }) => schema), ...Object.values(requestBody.content).map(({ schema }) => schema))
    }
  }
  t.ok(schemas.length > 20, String(schemas.length))
  for (const schema of schemas) t.ok(ajv.validateSchema(Object(schema)), JSON.stringify(ajv.errors))
})

t.test('architecture · dependencies point one way, without a circle', async (t) => {
  const source = join(root, 'src')
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
  // Which files may import values from which; types may come from anywhere.
  const allowed: Record<string, RegExp> = {
    'server.ts': /^(app|standalone\/\w[\w-]*|database\/store)\.ts$/,
    'cli.ts': /^commands\/index\.ts$/,
    'app.ts': /^(latchkey|options|errors)\.ts$|^(plugins|standalone|lib)\//,
    'testing.ts': /^(index|services|errors)\.ts$|^(plugins|lib)\//,
    'index.ts': /^(latchkey|options|resolve-options|errors)\.ts$|^database\/store-error\.ts$|^routes\/[\w-]+\/errors\.ts$/,
    'latchkey.ts': /^(services|host-api)\.ts$|^plugins\/|^routes\/[\w-]+\/index\.ts$/,
    'host-api.ts': /^errors\.ts$|^(plugins|lib)\//,
    'services.ts': /^(options|errors)\.ts$|^(plugins|lib)\//,
    'options.ts': /^(plugins|database|lib)\//,
    'resolve-options.ts': /^options\.ts$|^(database|lib)\//,
    'errors.ts': /^$/,
    'schema-ref.ts': /^$/,
    commands: /^(services|options|errors|server)\.ts$|^(commands|standalone|plugins|database|lib)\//,
    standalone: /^(services|options|resolve-options|errors|schema-ref)\.ts$|^(standalone|plugins|database|lib)\//,
    routes: /^(errors|schema-ref)\.ts$|^(plugins|database|lib)\//,
    plugins: /^(errors|schema-ref)\.ts$|^(plugins|database|lib)\//,
    database: /^errors\.ts$|^(database|lib)\//,
    lib: /^errors\.ts$|^lib\//,
    client: /^client\//
  }
  const importsOf = new Map<string, string[]>()
  for (const file of files) {
    const room = file.split('/')[0] ?? ''
    const folder = dirname(file)
    const text = readFileSync(join(source, file), 'utf8')
    const targets: string[] = []
    for (const [, names = '', from = ''] of text.matchAll(/^import ([^'\n]+ from )?'(\.[^']+)'/gm)) {
      if (/^type /.test(names) || /^\{( *type \w+,?)+ *\} from $/.test(names)) continue
      const target = relative(source, resolve(source, folder, from)).replace(/\.js$/, '.ts')
      targets.push(target)
      const isInOwnFolder = room === 'routes' && target.startsWith(`${folder}/`)
      t.ok(isInOwnFolder || allowed[room]?.test(target), `${file} may import ${target}`)
      // A service is reached by its decorator, a resource by its URL: only what registers them imports them.
      if (/^(plugins|routes)\/[\w-]+\/index\.ts$/.test(file)) t.notMatch(target, /^(plugins|routes)\/[\w-]+\/index\.ts$/, `${file} does not import ${target}`)
    }
    importsOf.set(file, targets)
    t.notMatch(text, /import\.meta\.(dirname|filename)/, `${file} asks for no more than import.meta.url, which is all that Jest has`)
    // UV_THREADPOOL_SIZE is no setting of ours: Node itself reads it.
    if (!['server.ts', 'cli.ts', 'lib/thread-pool.ts'].includes(file)) t.notMatch(text.replace(/\/\*\*[^]*?\*\//g, ''), /process\.(env|exit)/, `${file} leaves the process alone`)
    if (file !== 'client/contract.ts') t.ok(text.split('\n').length <= 200, `${file} is at most 200 lines`)
  }

  const isWithoutCircle = new Set<string>()
  const visit = (file: string, path: string[]): void => {
    if (path.includes(file)) {
      t.fail(`circle: ${[...path.slice(path.indexOf(file)), file].join(' → ')}`)
      return
    }
    if (isWithoutCircle.has(file)) return
    for (const target of importsOf.get(file) ?? []) visit(target, [...path, file])
    isWithoutCircle.add(file)
  }
  for (const file of files) visit(file, [])
  t.ok(isWithoutCircle.size > 100, 'the files were found')
})

t.test('docs/settings.md · has every setting once, with its default; no other page repeats a default', async (t) => {
  const shownDefault = (value: unknown) => value === undefined || String(value) === '' ? 'none' : `\`${value}\``
  const rows = readFileSync(join(root, 'docs/settings.md'), 'utf8').split('\n').filter((line) => line.startsWith('| `')).map((line) => line.split('|').map((cell) => cell.trim()))
  const properties: Record<string, TSchema> = Settings.properties
  t.same(rows.map(([, name]) => name), Object.keys(properties).map((name) => `\`${environmentName(name)}\``))
  for (const [i, [name, schema]] of Object.entries(properties).entries()) {
    const [, , value, option] = rows[i] ?? []
    // How many passwords are hashed at once depends on the machine.
    t.equal(value, name === 'hashConcurrency' ? 'one for each processor, one less on more than three' : shownDefault(schema.default), name)
    t.equal(option, name in EmbeddingOptions.properties && name !== 'logLevel' ? `\`${name}\`` : '–', name)
  }
  const pages = ['README.md', 'CONTRIBUTING.md', '.env.example', ...readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md') && name !== 'settings.md').map((name) => `docs/${name}`)]
  for (const page of pages) {
    const text = readFileSync(join(root, page), 'utf8')
    for (const name of Object.keys(properties)) {
      t.notMatch(text, new RegExp(`^\\| \`${environmentName(name)}\` \\|`, 'm'), `${page} has no table of settings`)
      t.notMatch(text, new RegExp(`\`${environmentName(name)}\`[^.|]{0,40}\\bby default\\b`), `${page} does not repeat the default of ${name}`)
    }
  }
})

t.test('ref · schema without $id → it throws', async (t) => {
  t.throws(() => ref(Type.String()), /only a schema with an \$id/)
  t.same({ ...ref(Type.String({ $id: 'Name' })) }.$ref, 'Name#')
})

t.test('documentation · every test file that a page names exists', async (t) => {
  const pages = ['CONTRIBUTING.md', ...readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)]
  const named = pages.flatMap((page) => [...readFileSync(join(root, page), 'utf8').matchAll(/\btest\/[\w/-]+(?:\.test)?\.[tj]s\b/g)].map(([name]) => name))
  t.ok(named.length > 10)
  for (const name of named) t.ok(existsSync(join(root, name)), name)
})

/** The anchors of a page's headings, as GitHub makes them. */
const anchorsOf = (text: string) => [...text.replace(/^```[^]*?^```/gm, '').matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'))

t.test('documentation · every link leads to a file of the package, and to a heading that exists', async (t) => {
  const { files }: { files: string[] } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  // npm adds these to `files`.
  const packed = new Set(['README.md', 'LICENSE', 'package.json', ...files, ...readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)])
  const pages = [...packed].filter((name) => /^[\w/-]+\.md$/.test(name))
  t.ok(pages.length > 10)
  let links = 0
  for (const page of pages) {
    const text = readFileSync(join(root, page), 'utf8')
    for (const [, link = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue
      links++
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? page : relative(root, resolve(root, dirname(page), path))
      t.ok(packed.has(target) && existsSync(join(root, target)), `${page} links to ${link}, which is not in the package`)
      if (anchor !== undefined) t.ok(anchorsOf(readFileSync(join(root, target), 'utf8')).includes(anchor), `${page} links to ${link}, which is not a heading there`)
    }
  }
  t.ok(links > 40)
})
