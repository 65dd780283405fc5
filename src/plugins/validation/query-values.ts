import type { Validator } from './lazy-compilers.js'

/** The schema of a query string. */
export interface QuerySchema { properties: Record<string, { type?: string }> }

/** Converts decimal digits to integers before validation. Other text stays text, which the validator rejects. */
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
