import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { parse } from 'yaml'

/** A response of an operation, as the document has it. */
interface DocumentedResponse {
  headers?: Record<string, object>
  content?: Record<string, { schema: { allOf?: Array<{ properties?: { code?: { enum?: string[] } } }> } }>
}

/** An operation of the document. */
export interface Operation {
  name: string
  operationId: string
  security: object[]
  requestBody?: object
  responses: Record<string, DocumentedResponse>
  pattern: RegExp
}

/** The document as it is committed. That it is what the routes say is a test of its own. */
export const document = parse(readFileSync(join(import.meta.dirname, '../openapi.yaml'), 'utf8'))

/** Every operation of the document. */
export const operations: Operation[] = Object.entries<Record<string, Omit<Operation, 'name' | 'pattern'>>>(document.paths)
  .flatMap(([path, item]) => Object.entries(item).map(([method, operation]) => ({
    ...operation,
    name: `${method.toUpperCase()} ${path}`,
    pattern: new RegExp(`^${method.toUpperCase()} ${path.replace(/\{\w+\}/g, '[^/]+')}$`)
  })))

/** The codes that an operation can answer with a status. */
export function codesOf ({ responses }: Operation, status: number | string): string[] {
  return responses[status]?.content?.['application/json']?.schema.allOf?.flatMap(({ properties }) => properties?.code?.enum ?? []) ?? []
}

const ajv = addFormats.default(new Ajv2020({ strict: false, allErrors: true }))
// Ours are rules of the server; the document has them in words.
for (const format of ['username', 'description', 'role-name', 'current-password', 'new-password']) ajv.addFormat(format, true)
ajv.addSchema({ ...document, $id: 'contract' })
const validators = new Map<string, ValidateFunction>()

function validatorOf (operation: Operation, status: number): ValidateFunction {
  const [path, method] = [operation.name.replace(/^\w+ /, ''), operation.name.replace(/ .*/, '').toLowerCase()]
  const pointer = ['paths', path, method, 'responses', String(status), 'content', 'application/json', 'schema']
    .map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/')
  // A member that is not documented is one too many.
  const validate = validators.get(pointer) ?? ajv.compile({ $ref: `contract#/${pointer}`, unevaluatedProperties: false })
  validators.set(pointer, validate)
  return validate
}

/** What is answered before any operation is reached: no operation has to know of it. */
const unrouted = ['ROUTE_NOT_FOUND', 'METHOD_NOT_ALLOWED']

/** What a response does that the document does not say; undefined when it keeps to it, or is of no operation of ours. */
export function violation (method: string, url: string, { statusCode, headers, body }: { statusCode: number, headers: Record<string, unknown>, body: string }): string | undefined {
  const path = url.replace(/[?#].*$/s, '')
  const operation = operations.find(({ pattern }) => pattern.test(`${method} ${path}`))
  if (operation === undefined) return undefined
  const type = String(headers['content-type']).replace(/;.*/, '')
  const isJson = type === 'application/json'
  const code = isJson && body.startsWith('{') ? Object(JSON.parse(body)).code : undefined
  if (unrouted.includes(code)) return undefined
  const where = `${operation.name} answered ${statusCode} ${code ?? ''}`
  const documented = operation.responses[statusCode]
  if (documented === undefined) return `${where}, which is not documented`
  if (documented.content === undefined) return body === '' ? undefined : `${where} with a body`
  if (documented.content[type] === undefined) return `${where} as ${type}`
  if (!isJson) return undefined
  if (statusCode >= 400 && JSON.parse(body).statusCode !== statusCode) return `${where}, and says another status`
  if ((documented.headers?.['retry-after'] !== undefined) && !/^[1-9]\d*$/.test(String(headers['retry-after']))) return `${where} without Retry-After`
  const validate = validatorOf(operation, statusCode)
  return validate(JSON.parse(body)) ? undefined : `${where}, but ${ajv.errorsText(validate.errors)}: ${body}`
}

/** Checks everything that an app answers against the document: a violation rejects. */
export function checkContract (app: FastifyInstance): void {
  const inject = app.inject.bind(app)
  Object.assign(app, {
    async inject (options: string | InjectOptions) {
      const response = await inject(options)
      const { method = 'GET', url = '' } = typeof options === 'string' ? { url: options } : options
      const problem = typeof url === 'string' ? violation(method.toUpperCase(), url, response) : undefined
      if (problem !== undefined) throw new Error(problem)
      return response
    }
  })
}
