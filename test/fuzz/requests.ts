import fc from 'fast-check'
import type { InjectOptions } from 'fastify'
import { Readable } from 'node:stream'
import { document, type Operation, operations } from '../contract.js'
import { authorizations, bodyChanges, contentTypes, jsonValues, numbers, strings } from './values.js'

// Requests of every operation of openapi.yaml, each more or less as it is asked for.

interface Schema { type?: string | string[], format?: string, enum?: string[], pattern?: string, minimum?: number, maximum?: number, properties?: Record<string, Schema> }
interface Parameter { in: 'path' | 'query', name: string, schema: Schema }

/** Who sends a request: with one of the tokens that there are, or with a header of their own. */
export type Sender = 'admin' | 'bob' | 'script' | { authorization?: string | string[] }

/** A request that is yet to get its token. */
export interface GeneratedRequest {
  operation: Operation
  method: string
  url: string
  query: Array<[name: string, value: string]>
  sender: Sender
  headers: Record<string, string>
  payload?: string | Buffer
  isChunked: boolean
}

export const password = 'correct horse battery staple'

const parametersOf = (operation: Operation, where: Parameter['in']): Parameter[] =>
  ((operation as { parameters?: Parameter[] }).parameters ?? []).filter((parameter) => parameter.in === where)

const methodOf = ({ name }: Operation) => name.replace(/ .*/, '')

/** Something that fits a member of a body, in its form at least. */
function fitting (name: string, { type, format, enum: values, minimum = 1, maximum = 1_000_000 }: Schema): fc.Arbitrary<unknown> {
  if (values !== undefined) return fc.constantFrom(...values)
  if (type === 'integer') return fc.integer({ min: minimum, max: maximum })
  if (format === 'email') return fc.constantFrom('bob@example.com', 'dave@example.com', null)
  if (format === 'new-password') return fc.constantFrom('incorrect donkey charger clip', password)
  if (format === 'current-password') return fc.constant(password)
  if (format === 'role-name' || name === 'name') return fc.constantFrom('editor', 'author', 'admin')
  if (name === 'username') return fc.constantFrom('bob', 'BOB', 'dave', 'root')
  return fc.constant('backup script')
}

function bodyOf (operation: Operation): fc.Arbitrary<string> {
  const { requestBody } = operation as { requestBody?: { content: { 'application/json': { schema: { $ref: string } } } } }
  if (requestBody === undefined) return fc.constantFrom('', '', '', '{}', 'null', '[]')
  const schema: Schema = document.components.schemas[requestBody.content['application/json'].schema.$ref.replace(/.*\//, '')]
  const members = Object.entries(schema.properties ?? {}).map(([name, member]) => [name, fc.oneof(
    { weight: 12, arbitrary: fitting(name, member) },
    { weight: 1, arbitrary: fc.constant(undefined) },
    { weight: 2, arbitrary: jsonValues }
  )] as const)
  return fc.record(Object.fromEntries(members)).map((body) => JSON.stringify(body))
}

const encode = (value: string) => encodeURIComponent(value.toWellFormed())

const pathValues = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('bob', 'BOB', 'root', 'editor', 'admin', '4e808214-e320-4173-bb6c-b75fbdd51003') },
  // A path with dots in it, or an empty part, names another resource.
  { weight: 2, arbitrary: strings.filter((value) => !['', '.', '..'].includes(value)).map(encode) },
  { weight: 1, arbitrary: fc.constantFrom('%', '%zz', '%ff', '%c0%80', '%ed%a0%80', ';', 'a;b', '*', '+', '~') }
)

function urlOf (operation: Operation): fc.Arbitrary<string> {
  const path = operation.name.replace(/^\w+ /, '')
  const names = parametersOf(operation, 'path').map(({ name }) => name)
  return fc.tuple(...names.map(() => pathValues)).map((values) => names.reduce((url, name, i) => url.replace(`{${name}}`, () => values[i] ?? ''), path))
}

function queryOf (operation: Operation): fc.Arbitrary<Array<[string, string]>> {
  const parameters = parametersOf(operation, 'query')
  const known = parameters.map(({ name, schema }) => fc.tuple(fc.constant(name), fc.oneof(
    { weight: 5, arbitrary: schema.type === 'integer' || name === 'cursor' ? numbers : fitting(name, schema).map(String) },
    { weight: 1, arbitrary: strings }
  )))
  const unknown = fc.tuple(fc.constantFrom('x', '__proto__', 'limit[]', 'constructor', 'Limit', ''), strings)
  return fc.array(fc.oneof(...known, ...(known.length === 0 ? [unknown] : known), unknown), { maxLength: parameters.length + 1 })
}

const senders: fc.Arbitrary<Sender> = fc.oneof(
  { weight: 10, arbitrary: fc.constantFrom('admin' as const, 'admin' as const, 'bob' as const, 'script' as const) },
  { weight: 2, arbitrary: fc.oneof(fc.constant(undefined), authorizations, fc.array(authorizations, { minLength: 2, maxLength: 3 })).map((authorization) => ({ authorization })) }
)

/** Methods that no operation has. */
const otherMethods = fc.constantFrom('PATCH', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY')

function requestOf (operation: Operation): fc.Arbitrary<GeneratedRequest> {
  return fc.record({
    method: fc.oneof({ weight: 40, arbitrary: fc.constant(methodOf(operation)) }, { weight: 1, arbitrary: otherMethods }),
    path: urlOf(operation),
    query: queryOf(operation),
    sender: senders,
    type: contentTypes,
    body: bodyOf(operation),
    change: bodyChanges,
    isChunked: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) })
  }).map(({ method, path, query, sender, type, body, change, isChunked }): GeneratedRequest => ({
    operation,
    method,
    url: path + (query.length === 0 ? '' : `?${query.map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&')}`),
    query,
    sender,
    headers: (type === undefined ? {} : { 'content-type': type }) as Record<string, string>,
    payload: method === 'GET' ? undefined : change(body),
    isChunked
  }))
}

/** The more an operation can be told, the more often it is called. */
export const requests = fc.oneof(...operations.map((operation) => ({
  weight: 2 + parametersOf(operation, 'path').length + 2 * parametersOf(operation, 'query').length + (operation.requestBody === undefined ? 0 : 4),
  arbitrary: requestOf(operation)
})))

/** A request as it is sent. */
export function injectOptions ({ method, url, sender, headers, payload, isChunked }: GeneratedRequest, tokens: Record<string, string>): InjectOptions {
  const authorization = typeof sender === 'string' ? `Bearer ${tokens[sender]}` : sender.authorization
  return {
    method: method as 'GET',
    url,
    headers: { ...headers, ...(authorization === undefined ? {} : { authorization }), ...(isChunked && payload !== undefined ? { 'transfer-encoding': 'chunked' } : {}) } as Record<string, string>,
    // An empty chunked body is one as well.
    payload: isChunked && payload !== undefined ? Readable.from(payload.length === 0 ? [] : [Buffer.from(payload as string)]) : payload
  }
}

/** Whether a request has the method of its operation. */
export const hasOwnMethod = ({ operation, method }: GeneratedRequest) => method === methodOf(operation)

/** Whether a query is not what the operation asks for. */
export function hasInvalidQuery ({ operation, query }: GeneratedRequest): boolean {
  return parametersOf(operation, 'query').some(({ name, schema: { type, enum: values, pattern, minimum = 0, maximum = Infinity } }) => {
    const given = query.filter(([other]) => other === name).map(([, value]) => value.toWellFormed())
    const [value] = given
    if (value === undefined) return false
    return given.length > 1 ||
      (values !== undefined && !values.includes(value)) ||
      (type === 'integer' && (!/^[0-9]+$/.test(value) || Number(value) < minimum || Number(value) > maximum)) ||
      (pattern !== undefined && !new RegExp(pattern, 'u').test(value))
  })
}

/** Whether a body is sent to an operation that takes none. */
export const hasUnexpectedBody = ({ operation, payload = '' }: GeneratedRequest) => operation.requestBody === undefined && payload.length > 0

/** A request as it is printed. */
export function textOf ({ method, url, sender, headers, payload, isChunked }: GeneratedRequest): string {
  const who = typeof sender === 'string' ? sender : JSON.stringify(sender)
  const body = payload === undefined ? '' : typeof payload === 'string' ? JSON.stringify(payload) : `bytes ${payload.toString('hex')}`
  return [who.slice(0, 200), method, url.slice(0, 300), JSON.stringify(headers).slice(0, 200), isChunked ? 'chunked' : '', body.slice(0, 300)].filter((part) => part !== '').join(' ')
}
