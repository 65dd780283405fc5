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
import { asksForBody, canHaveBody, rejectBody } from '../../lib/request-body.js'
import { roleNameProblem } from '../roles/role-name.js'
import { usernameProblem } from '../users/username.js'

/**
 * Makes this scope validate requests strictly: bodies must be JSON in UTF-8, are never coerced,
 * and unknown members are never removed. Adds our own string formats.
 *
 * @param options.passwordPolicy the rules for new passwords
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

  // JSON is UTF-8 (RFC 8259, section 8.1). Lenient decoding would turn different passwords into
  // the same replacement characters.
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
    if (canHaveBody(route.method) && !asksForBody(route)) route.onRequest = [route.onRequest ?? [], rejectBody].flat()
  })

  const buildValidator = (schemas: SharedSchemas) => {
    const build = loadValidatorCompiler()
    // A test validates the schemas themselves.
    const shared = { removeAdditional: false, useDefaults: true, allErrors: true, verbose: true, allowUnionTypes: true, meta: false, validateSchema: false }
    // Added last, to replace formats of the same names.
    const onCreate = (ajv: Ajv) => { for (const [name, format] of formats) ajv.addFormat(name, format) }
    const compile = build(schemas, { customOptions: { ...shared, coerceTypes: false }, onCreate })
    return (route: FastifyRouteSchemaDef<QuerySchema>) => {
      const { httpPart, schema } = route
      const validate: Validator = compile(route)
      return httpPart === 'querystring' ? withIntegers(schema?.properties, validate) : validate
    }
  }

  // Scopes inherit the compilers of the embedding app. So every scope of ours gets our compilers,
  // with the schemas that are visible in it.
  const useOwnCompilers = (scope: FastifyInstance) => {
    // Fastify types them as unknown; addSchema accepts schemas only.
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

  // A missing body is validated as an empty object: every required field is missing.
  app.addHook('preValidation', (request, reply, done) => {
    request.body ??= {}
    done()
  })

  // Passwords are normalized before they are validated. Normalizing text again that is NFC
  // already costs almost nothing.
  app.addHook('onRoute', function (route) {
    const fields = passwordFields(this, route.schema?.body)
    if (fields.length === 0) return
    route.preValidation = [...[route.preValidation ?? []].flat(), (request, reply, done) => {
      normalizePasswords(request.body, fields)
      done()
    }]
  })

  app.setSchemaErrorFormatter((errors) => new ValidationFailed(problems(errors)))

  /** One problem per field, in the order of the schema. */
  function problems (errors: ValidationError[]): FieldProblem[] {
    const byField = new Map<string, string>()
    for (const error of errors.toSorted((a, b) => severity(a) - severity(b))) {
      const field = fieldOf(error)
      if (!byField.has(field)) byField.set(field, `${field === '' ? 'the body' : field} ${describe(error)}`)
    }
    // Ajv reports missing properties first, then the others in the order of the schema.
    const properties = errors.find(({ keyword }) => keyword === 'required')?.parentSchema?.properties
    const order = properties === undefined ? errors.map(fieldOf) : Object.keys(properties)
    return [...byField]
      .map(([field, message]) => ({ field, message }))
      .toSorted((a, b) => order.indexOf(a.field) - order.indexOf(b.field))
  }

  function describe ({ keyword, params, data, message }: ValidationError): string {
    if (isMissingOrEmpty(keyword, data)) return 'is empty'
    if (keyword === 'type') return `must be ${[params.type].flat().map((type) => typeNames[String(type)]).join(' or ')}`
    return problemOf[String(params.format)]?.(String(data)) ?? String(message)
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** The names of the password fields of a body, from its schema or the schema that it refers to. */
function passwordFields (app: FastifyInstance, body: unknown): string[] {
  if (!isRecord(body)) return []
  const schema = typeof body.$ref === 'string' ? app.getSchema(body.$ref.replace('#', '')) : body
  const properties = isRecord(schema) && isRecord(schema.properties) ? schema.properties : {}
  return Object.entries(properties)
    .filter(([, property]) => isRecord(property) && passwordFormats.has(property.format))
    .map(([name]) => name)
}

/** Normalizes passwords (NFC). Text that is too long for a password stays unchanged: validation rejects it. */
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

function isMissingOrEmpty (keyword: string, data: unknown): boolean {
  return keyword === 'required' || (keyword === 'minLength' && data === '')
}

// The message of a format says more than that of a length or a pattern of the same field.
function severity ({ keyword, data }: ValidationError): number {
  return isMissingOrEmpty(keyword, data) ? 0 : keyword === 'format' ? 1 : 2
}

function fieldOf ({ instancePath, params }: ValidationError): string {
  return typeof params.missingProperty === 'string' ? params.missingProperty : instancePath.slice(1).replaceAll('/', '.')
}

export default fp(plugin, { name: 'latchkey-validation', fastify: '5.x' })
