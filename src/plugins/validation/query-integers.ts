import type { Validator } from './lazy-compilers.js'

/** What a route says of its query. */
export interface QuerySchema { properties: Record<string, { type?: string }> }

/** The integers of a query arrive as text: decimal digits are one, anything else stays text and is refused. */
export function withIntegers (properties: QuerySchema['properties'] = {}, validate: Validator): Validator {
  const names = Object.keys(properties).filter((name) => properties[name]?.type === 'integer')
  const validator: Validator = (query: Record<string, unknown>) => {
    for (const name of names) {
      const text = query[name]
      if (typeof text === 'string' && /^\d{1,16}$/.test(text)) query[name] = Number(text)
    }
    const result = validate(query)
    validator.errors = validate.errors
    return result
  }
  return validator
}
