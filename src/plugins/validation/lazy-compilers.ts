import { createRequire } from 'node:module'
import type { BuildCompilerFromPool } from '@fastify/ajv-compiler'
import type { Serializer, SerializerCompiler, SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import type { FastifySchemaCompiler } from 'fastify'
import { InternalServerError } from '../../errors.js'

// Loading the compilers and compiling all schemas would take most of the startup time.
const require = createRequire(import.meta.url)

/** How long after it listens the server loads the compilers. */
const loadDelayMs = 500

/** Checks a value against a schema; `errors` has the problems of the last value. */
export type Validator = ReturnType<FastifySchemaCompiler<unknown>>

/** Loads Fastify's own validator compiler. */
export function loadValidatorCompiler (): BuildCompilerFromPool {
  return require('@fastify/ajv-compiler')()
}

function loadSerializerCompiler (): ReturnType<typeof SerializerSelector> {
  return require('@fastify/fast-json-stringify-compiler')()
}

/** Loads the compilers after startup, before requests need them, and while their files can still be read. */
export function loadCompilersSoon (): void {
  setTimeout(() => {
    loadValidatorCompiler()
    loadSerializerCompiler()
  }, loadDelayMs).unref()
}

/** @throws {InternalServerError} the schema cannot be compiled, which is always our mistake */
function compileOrThrow<Compiled> (compile: () => Compiled): Compiled {
  try {
    return compile()
  } catch (error) {
    throw new InternalServerError({ cause: error })
  }
}

/**
 * Creates validators that are compiled for their first value.
 *
 * @param build creates the compiler, which all of them share
 */
export function lazyValidators<Route> (build: () => (route: Route) => Validator): (route: Route) => Validator {
  let compile: ReturnType<typeof build> | undefined
  return (route) => {
    let compiled: Validator | undefined
    const validator: Validator = (value) => {
      compiled ??= compileOrThrow<Validator>(() => {
        compile ??= build()
        return compile(route)
      })
      const result = compiled(value)
      validator.errors = compiled.errors
      return result
    }
    return validator
  }
}

/**
 * Creates serializers that Fastify's own compiler compiles for their first response. Errors use
 * JSON.stringify: one plugin shapes their bodies, so there are no members to filter out.
 *
 * @param schemas returns the schemas that others can refer to
 */
export function lazySerializers (schemas: () => unknown): SerializerCompiler {
  let compile: SerializerCompiler | undefined
  return (route) => {
    if (Number(route.httpStatus) >= 400) return JSON.stringify
    let serialize: Serializer | undefined
    return (payload) => {
      serialize ??= compileOrThrow(() => {
        compile ??= loadSerializerCompiler()(schemas(), {})
        return compile(route)
      })
      return serialize(payload)
    }
  }
}

/** Fastify's `schemaController.compilersFactory`, with both compilers loaded lazily. */
export const lazyCompilers: { buildValidator: BuildCompilerFromPool, buildSerializer: ReturnType<typeof SerializerSelector> } = {
  // The type asks for all members of an Ajv validator; Fastify uses only the call and `errors`.
  buildValidator: (schemas, options) => lazyValidators(() => loadValidatorCompiler()(schemas, options)) as ReturnType<BuildCompilerFromPool>,
  buildSerializer: (schemas) => lazySerializers(() => schemas)
}
