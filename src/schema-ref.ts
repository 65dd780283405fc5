import { type Static, type TSchema, type TUnsafe, Type } from '@sinclair/typebox'

/**
 * A reference to a schema that was added with `addSchema`, typed like the schema
 * itself. Referring, not repeating, is what makes it a named component of the
 * contract.
 *
 * @throws {Error} the schema has no `$id`
 */
export function ref<T extends TSchema> (schema: T): TUnsafe<Static<T>> {
  if (schema.$id === undefined) throw new Error('only a schema with an $id can be referred to')
  return Type.Unsafe<Static<T>>({ $ref: `${schema.$id}#` })
}
