import { isUtf8 } from 'node:buffer'
import type { Ajv, BuildCompilerFromPool } from '@fastify/ajv-compiler'
import type { FastifyInstance, FastifyPluginAsync, FastifySchemaValidationError } from 'fastify'
import fp from 'fastify-plugin'
import type { FastifyRouteSchemaDef } from 'fastify/types/schema.js'
import { BodyMalformed, BodyUnexpected, type FieldProblem, MediaTypeUnsupported, ValidationFailed } from '../../errors.js'
import { descriptionProblem } from '../../lib/single-line.js'
import { emailProblem } from '../users/email.js'
import { canonicalPassword, newPasswordProblem, passwordMaxUnits, passwordProblem, type PasswordPolicy } from '../passwords/policy.js'
import { lazySerializers, lazyValidators, loadCompilersSoon, loadValidatorCompiler, type Validator } from './lazy-compilers.js'
import { type QuerySchema, withIntegers } from './query-integers.js'
import { asksForBody, canHaveBody, refuseBody } from '../../lib/request-body.js'
import { roleNameProblem } from '../roles/role-name.js'
import { usernameProblem } from '../users/username.js'

/**
 * Makes this scope strict about what it is sent: bodies are JSON in UTF-8, never
 * coerced, never stripped; the rules of our own string formats are in force.
 */
const plugin: FastifyPluginAsync<{ passwordPolicy: PasswordPolicy }> = async (app, { passwordPolicy }) => {
  const problemOf: Record<string, (value: string) => string | undefined> = {
    username: usernameProblem,
    description: descriptionProblem,
    'role-name': roleNameProblem,
    email: emailProblem,
    'current-password': passwordProblem,
    'new-password': (password) => newPasswordProblem(password, passwordPolicy)
  }
  const formats = Object.entries(problemOf)
    .map(([name, problem]) => [name, (value: string) => problem(value) === undefined] as const)

  // JSON is UTF-8 (RFC 8259, section 8.1). Decoding anything else leniently would turn
  // different passwords into the same replacement characters.
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    if (!isUtf8(body)) return done(new BodyMalformed())
    parseJson(request, body.toString('utf8'), done)
  })
  app.addContentTypeParser<Buffer>('*', { parseAs: 'buffer' }, (request, body, done) => {
    if (asksForBody(request.routeOptions)) return done(new MediaTypeUnsupported())
    done(body.length === 0 ? null : new BodyUnexpected(), undefined)
  })
  app.addHook('onRoute', (route) => {
    if (canHaveBody(route.method) && !asksForBody(route)) route.onRequest = [route.onRequest ?? [], refuseBody].flat()
  })

  const buildValidator = (schemas: SharedSchemas) => {
    const build = loadValidatorCompiler()
    // That the schemas are schemas is a test's to say.
    const shared = { removeAdditional: false, useDefaults: true, allErrors: true, verbose: true, allowUnionTypes: true, meta: false, validateSchema: false }
    // Last, because the compiler brings formats of the same names.
    const onCreate = (ajv: Ajv) => { for (const [name, format] of formats) ajv.addFormat(name, format) }
    const compile = build(schemas, { customOptions: { ...shared, coerceTypes: false }, onCreate })
    return (route: FastifyRouteSchemaDef<QuerySchema>) => {
      const { httpPart, schema } = route
      const validate: Validator = compile(route)
      return httpPart === 'querystring' ? withIntegers(schema?.properties, validate) : validate
    }
  }

  // An app that embeds us may have compilers of its own, which scopes inherit: ours are set
  // on every scope of ours, each with the schemas that are visible there.
  const useOwnCompilers = (scope: FastifyInstance) => {
    // Fastify gives them as unknown, but it takes schemas only.
    scope.setValidatorCompiler(lazyValidators(() => buildValidator(scope.getSchemas() as SharedSchemas)))
    const serializers = lazySerializers(() => scope.getSchemas())
    scope.setSerializerCompiler((route) => serializers({ ...route, httpStatus: String(route.httpStatus) }))
  }
  useOwnCompilers(app)
  app.addHook('onRegister', useOwnCompilers)
  app.addHook('onListen', (done) => {
    loadCompilersSoon()
    done()
  })

  // No body, and no word of its type, is a body with every field missing.
  app.addHook('preValidation', (request, reply, done) => {
    request.body ??= {}
    done()
  })

  // Passwords are normalized once, before anything looks at them: text that is NFC already
  // is recognized as such in next to no time, however often it is normalized again.
  app.addHook('onRoute', function (route) {
    const fields = passwordFields(this, route.schema?.body)
    if (fields.length === 0) return
    route.preValidation = [...[route.preValidation ?? []].flat(), (request, reply, done) => {
      normalizePasswords(request.body, fields)
      done()
    }]
  })

  app.setSchemaErrorFormatter((errors) => new ValidationFailed(problems(errors)))

  /** One problem a field, in the order of the schema. */
  function problems (errors: ValidationError[]): FieldProblem[] {
    const byField = new Map<string, string>()
    for (const error of errors.toSorted((a, b) => severity(a) - severity(b))) {
      const field = fieldOf(error)
      if (!byField.has(field)) byField.set(field, `${field === '' ? 'the body' : field} ${sentence(error)}`)
    }
    // Ajv goes through the properties in their order, but looks for missing ones first.
    const properties = errors.find(({ keyword }) => keyword === 'required')?.parentSchema?.properties
    const order = properties === undefined ? errors.map(fieldOf) : Object.keys(properties)
    return [...byField]
      .map(([field, message]) => ({ field, message }))
      .toSorted((a, b) => order.indexOf(a.field) - order.indexOf(b.field))
  }

  function sentence ({ keyword, params, data, message }: ValidationError): string {
    if (isEmptiness(keyword, data)) return 'is empty'
    if (keyword === 'type') return `must be ${[params.type].flat().map((type) => typeNames[String(type)]).join(' or ')}`
    return problemOf[String(params.format)]?.(String(data)) ?? String(message)
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** The names of the fields of a body that hold passwords, whether its schema is there or referred to. */
function passwordFields (app: FastifyInstance, body: unknown): string[] {
  if (!isRecord(body)) return []
  const schema = typeof body.$ref === 'string' ? app.getSchema(body.$ref.replace('#', '')) : body
  const properties = isRecord(schema) && isRecord(schema.properties) ? schema.properties : {}
  return Object.entries(properties)
    .filter(([, property]) => isRecord(property) && passwordFormats.has(property.format))
    .map(([name]) => name)
}

/** What is longer than any password stays as it is: it is refused unread. */
function normalizePasswords (body: unknown, fields: string[]): void {
  if (!isRecord(body)) return
  for (const field of fields) {
    const value = body[field]
    if (typeof value === 'string' && value.length <= passwordMaxUnits) body[field] = canonicalPassword(value)
  }
}

/** The schemas that others can refer to, by their `$id`. */
type SharedSchemas = Parameters<BuildCompilerFromPool>[0]

/** Ajv's error, with what its `verbose` option adds. */
interface ValidationError extends FastifySchemaValidationError {
  data?: unknown
  parentSchema?: { properties?: object }
}

const passwordFormats = new Set<unknown>(['current-password', 'new-password'])

const typeNames: Record<string, string> = { object: 'an object', string: 'a string', integer: 'an integer', null: 'null' }

function isEmptiness (keyword: string, data: unknown): boolean {
  return keyword === 'required' || (keyword === 'minLength' && data === '')
}

// A format's own sentence says more than the length or the pattern that stands beside it for documentation.
function severity ({ keyword, data }: ValidationError): number {
  return isEmptiness(keyword, data) ? 0 : keyword === 'format' ? 1 : 2
}

function fieldOf ({ instancePath, params }: ValidationError): string {
  return typeof params.missingProperty === 'string' ? params.missingProperty : instancePath.slice(1).replaceAll('/', '.')
}

export default fp(plugin, { name: 'latchkey-validation', fastify: '5.x' })
