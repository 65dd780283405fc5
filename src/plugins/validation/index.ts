import { isUtf8 } from 'node:buffer'
import type { Ajv, BuildCompilerFromPool } from '@fastify/ajv-compiler'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { FastifyRouteSchemaDef } from 'fastify/types/schema.js'
import { BodyMalformed, BodyUnexpected, MediaTypeUnsupported, ValidationFailed } from '../../errors.js'
import { asksForBody, canHaveBody, rejectBody } from '../../lib/request-body.js'
import type { PasswordPolicy } from '../passwords/policy.js'
import { fieldProblems } from './field-problems.js'
import { lazySerializers, lazyValidators, loadCompilersSoon, loadValidatorCompiler, type Validator } from './lazy-compilers.js'
import { normalizePasswords, passwordFields } from './password-fields.js'
import { type QuerySchema, withQueryValues } from './query-values.js'
import { stringFormats } from './string-formats.js'

/** The schemas that others can refer to, by their `$id`. */
type SharedSchemas = Parameters<BuildCompilerFromPool>[0]

/**
 * Makes this scope validate requests strictly: bodies must be JSON in UTF-8, are never coerced,
 * and unknown members are never removed. Adds our own string formats.
 *
 * @param options.passwordPolicy the rules for new passwords
 */
const plugin: FastifyPluginAsync<{ passwordPolicy: PasswordPolicy }> = async (app, { passwordPolicy }) => {
  const formats = stringFormats(passwordPolicy)

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
    const customOptions = { removeAdditional: false, useDefaults: true, coerceTypes: false, allErrors: true, verbose: true, allowUnionTypes: true, meta: false, validateSchema: false }
    // Added last, to replace formats of the same names.
    const onCreate = (ajv: Ajv) => { for (const [name, problemOf] of Object.entries(formats)) ajv.addFormat(name, (value: string) => problemOf(value) === undefined) }
    const compile = build(schemas, { customOptions, onCreate })
    return (route: FastifyRouteSchemaDef<QuerySchema>) => {
      const { httpPart, schema } = route
      const validate: Validator = compile(route)
      return httpPart === 'querystring' ? withQueryValues(schema.properties, validate) : validate
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

  app.setSchemaErrorFormatter((errors) => new ValidationFailed(fieldProblems(errors, formats)))
}

export default fp(plugin, { name: 'latchkey-validation', fastify: '5.x' })
