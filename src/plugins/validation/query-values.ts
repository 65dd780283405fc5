import type { Validator } from './lazy-compilers.js'

/** The schema of a query string. */
export interface QuerySchema { properties: Record<string, { type?: string }> }

/** The value of a text for a type; other text stays text, which the validator rejects. */
function valueOf (text: unknown, type: string | undefined): unknown {
  if (typeof text !== 'string') return text
  if (type === 'integer' && /^\d{1,16}$/.test(text)) return Number(text)
  if (type === 'boolean' && /^(?:true|false)$/.test(text)) return text === 'true'
  return text
}

/** Converts decimal digits to integers, `true` and `false` to truth values, before validation. */
export function withQueryValues (properties: QuerySchema['properties'] = {}, validate: Validator): Validator {
  const types = Object.entries(properties).filter(([, { type }]) => type === 'integer' || type === 'boolean')
  const validator: Validator = (query: Record<string, unknown>) => {
    for (const [name, { type }] of types) {
      if (name in query) query[name] = valueOf(query[name], type)
    }
    const result = validate(query)
    validator.errors = validate.errors
    return result
  }
  return validator
}
