import { createRequire } from 'node:module'
import type { BuildCompilerFromPool } from '@fastify/ajv-compiler'
import type { Serializer, SerializerCompiler, SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import type { FastifySchemaCompiler } from 'fastify'

// To load the compilers, and to compile every schema of ours, would be most of the start.
const require = createRequire(import.meta.url)

type Validator = ReturnType<FastifySchemaCompiler<unknown>>

/** Loads Fastify's own validator compiler. */
export function loadValidatorCompiler (): BuildCompilerFromPool {
  return require('@fastify/ajv-compiler')()
}

/** Makes a validator that is compiled when the first value comes. */
export function lazyValidator (compile: () => Validator): Validator {
  let compiled: Validator | undefined
  const validator: Validator = (value) => {
    compiled ??= compile()
    const result = compiled(value)
    validator.errors = compiled.errors
    return result
  }
  return validator
}

/**
 * Makes serializers that are compiled when the first answer needs them, by Fastify's own
 * compiler. Bodies of failures are shaped in one place and have no member too many: they
 * need none.
 *
 * @param schemas answers the schemas that can be referred to
 */
export function lazySerializers (schemas: () => unknown): SerializerCompiler {
  let compile: SerializerCompiler | undefined
  return (route) => {
    if (Number(route.httpStatus) >= 400) return JSON.stringify
    let serialize: Serializer | undefined
    return (payload) => {
      if (serialize === undefined) {
        const load: typeof SerializerSelector = require('@fastify/fast-json-stringify-compiler')
        compile ??= load()(schemas(), {})
        serialize = compile(route)
      }
      return serialize(payload)
    }
  }
}

/** Both, where Fastify would load and compile at once: its `schemaController.compilersFactory`. */
export const lazyCompilers: { buildValidator: BuildCompilerFromPool, buildSerializer: ReturnType<typeof SerializerSelector> } = {
  buildValidator: (schemas, options) => (route) => Object(lazyValidator(() => Object(loadValidatorCompiler()(schemas, options)(route)))),
  buildSerializer: (schemas) => lazySerializers(() => schemas)
}
