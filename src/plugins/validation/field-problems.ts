import type { FastifySchemaValidationError } from 'fastify'
import type { FieldProblem } from '../../errors.js'
import { emptyProblem } from '../../lib/single-line.js'
import type { StringFormats } from './string-formats.js'

/** An error of Ajv, with the members that its option `verbose` adds. */
interface ValidationError extends FastifySchemaValidationError {
  data?: unknown
  parentSchema?: { properties?: object }
}

const typeNames: Record<string, string> = { object: 'an object', string: 'a string', integer: 'an integer', boolean: 'true or false', array: 'a list', null: 'null' }

function isMissingOrEmpty ({ keyword, data }: ValidationError): boolean {
  return keyword === 'required' || (keyword === 'minLength' && data === '')
}

/** The order in which problems of one field count: the message of a format says more than that of a length or a pattern. */
function rank (error: ValidationError): number {
  return isMissingOrEmpty(error) ? 0 : error.keyword === 'format' ? 1 : 2
}

function fieldOf ({ instancePath, params }: ValidationError): string {
  return typeof params.missingProperty === 'string' ? params.missingProperty : instancePath.slice(1).replaceAll('/', '.')
}

/** Describes an error as the end of a sentence that starts with the field's name. */
function describe (error: ValidationError, formats: StringFormats): string {
  const { keyword, params, data, message } = error
  if (isMissingOrEmpty(error)) return emptyProblem
  if (keyword === 'type') return `must be ${[params.type].flat().map((type) => typeNames[String(type)]).join(' or ')}`
  return formats[String(params.format)]?.(String(data)) ?? String(message)
}

/** Turns Ajv's errors into one problem per field, in the order of the schema. */
export function fieldProblems (errors: ValidationError[], formats: StringFormats): FieldProblem[] {
  const byField = new Map<string, string>()
  for (const error of errors.toSorted((a, b) => rank(a) - rank(b))) {
    const field = fieldOf(error)
    if (!byField.has(field)) byField.set(field, `${field === '' ? 'the body' : field} ${describe(error, formats)}`)
  }
  // Ajv reports missing properties first, then the others in the order of the schema.
  const properties = errors.find(({ keyword }) => keyword === 'required')?.parentSchema?.properties
  const order = properties === undefined ? errors.map(fieldOf) : Object.keys(properties)
  return [...byField]
    .map(([field, message]) => ({ field, message }))
    .toSorted((a, b) => order.indexOf(a.field) - order.indexOf(b.field))
}
