import { type TSchema, Type } from '@sinclair/typebox'
import type { FastifyError } from '@fastify/error'
import { ref } from '../../schema-ref.js'
import { statusText } from './status-text.js'
import { type FieldProblem, ValidationFailed } from '../../errors.js'
import { emptyProblem } from '../../lib/single-line.js'

/** An error that is part of the contract. */
export interface ExpectedError extends FastifyError {
  statusCode: number
  /** Header fields of the response. */
  headers?: Record<string, string>
  errors?: FieldProblem[]
}

/** A class of expected errors, created with @fastify/error. */
export type ErrorClass = new (...args: never[]) => ExpectedError

/** The body of every error response: Fastify's own shape. */
export const ErrorBody = Type.Object({
  statusCode: Type.Integer({ description: 'The status of the response.', examples: [400] }),
  code: Type.String({ description: 'What happened, for programs. Codes never change their meaning.', examples: ['AUTHORIZATION_MISSING'] }),
  error: Type.String({ description: 'The name of the status.', examples: ['Bad Request'] }),
  message: Type.String({ description: 'What happened, for humans.', examples: ['no Authorization header found'] })
}, { $id: 'latchkey.ErrorResponse', description: 'An error.' })

/** The same with a list of all problems of a body or a query. */
export const ValidationErrorBody = Type.Object({
  ...ErrorBody.properties,
  errors: Type.Array(
    Type.Object({
      field: Type.String({ description: 'The name of the field; empty for the body as a whole.', examples: ['username'] }),
      message: Type.String({ description: 'The problem, as a sentence.', examples: [`username ${emptyProblem}`] })
    }),
    { description: 'All problems, at most one for each field, in the order of the schema. The first one is also the `message`.' })
}, { $id: 'latchkey.ValidationErrorResponse', description: 'A request that does not match the schema of its route.' })

/** The body of an error response. A 5xx reveals its status text and nothing else. */
export function errorBody ({ statusCode, code, message, errors }: ExpectedError): Record<string, unknown> {
  const status = statusText(statusCode)
  return { statusCode, code, error: status, message: statusCode < 500 ? message : status, ...(errors === undefined || statusCode >= 500 ? {} : { errors }) }
}

function describe (error: ExpectedError): string {
  if (error instanceof ValidationFailed) return `\`${error.code}\`: the request does not match its schema`
  return `\`${error.code}\`${error.statusCode < 500 ? `: ${error.message}` : ''}`
}

const responseHeaders = {
  'www-authenticate': { type: 'string', description: 'The scheme to authenticate with (RFC 6750, section 3).' },
  'retry-after': { type: 'integer', description: 'Seconds to wait before the next attempt (RFC 9110, section 10.2.3).' }
}

/**
 * The response schemas that document errors: one for each status, with its possible codes and an
 * example of each.
 *
 * @param classes what the route can throw, in the order of the documentation
 * @param options.firstField a field of the body, for the example of a failed validation
 * @param options.isSelfContained refers to no named schema: for documents that may not have ours
 */
export function errorResponses (classes: ErrorClass[], { firstField = 'field', isSelfContained = false } = {}): Record<string, unknown> {
  const byStatus = new Map<number, ExpectedError[]>()
  for (const ErrorOfClass of new Set(classes)) {
    const error = example(ErrorOfClass, firstField)
    byStatus.set(error.statusCode, [...byStatus.get(error.statusCode) ?? [], error])
  }
  return Object.fromEntries([...byStatus].map(([status, errors]) => [status, errorResponse(errors, isSelfContained)]))
}

/** One error of each class: every route has most of them, and each new one would capture a stack. */
const examples = new WeakMap<ErrorClass, ExpectedError>()

function example (ErrorOfClass: ErrorClass, firstField: string): ExpectedError {
  if (ErrorOfClass === ValidationFailed) return new ValidationFailed([{ field: firstField, message: `${firstField} ${emptyProblem}` }])
  // Every other class has defaults for its arguments.
  const error = examples.get(ErrorOfClass) ?? new (ErrorOfClass as new () => ExpectedError)()
  examples.set(ErrorOfClass, error)
  return error
}

function errorResponse (errors: ExpectedError[], isSelfContained: boolean) {
  const base: TSchema = errors.some((error) => error instanceof ValidationFailed) ? ValidationErrorBody : ErrorBody
  const names = new Set(errors.flatMap(({ headers = {} }) => Object.keys(headers)))
  const headers = Object.fromEntries(Object.entries(responseHeaders).filter(([name]) => names.has(name)))
  return {
    description: errors.map(describe).join('; '),
    ...(names.size === 0 ? {} : { headers }),
    content: {
      'application/json': {
        schema: {
          allOf: [
            isSelfContained ? Type.Object(base.properties, { description: base.description }) : ref(base),
            Type.Object({ code: Type.String({ enum: errors.map(({ code }) => code) }) })
          ]
        },
        examples: Object.fromEntries(errors.map((error) => [error.code, { value: errorBody(error) }]))
      }
    }
  }
}
