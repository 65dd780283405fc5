import { createRequire } from 'node:module'
import type { BuildCompilerFromPool } from '@fastify/ajv-compiler'
import type { Serializer, SerializerCompiler, SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import type { FastifySchemaCompiler } from 'fastify'
import { InternalServerError } from '../../errors.js'

// To load the compilers, and to compile every schema of ours, would be most of the start.
const require = createRequire(import.meta.url)

/** How long after it listens a server loads the compilers: before anybody needs them, after it is there. */
const loadDelayMs = 500

/** Whether a value is what a schema says; `errors` has what is wrong with the last one. */
export type Validator = ReturnType<FastifySchemaCompiler<unknown>>

/** Loads Fastify's own validator compiler. */
export function loadValidatorCompiler (): BuildCompilerFromPool {
  return require('@fastify/ajv-compiler')()
}

function loadSerializerCompiler (): ReturnType<typeof SerializerSelector> {
  return require('@fastify/fast-json-stringify-compiler')()
}

/** For a server that has just begun to listen: what is not loaded yet is there before it is needed, or can no longer be read. */
export function loadCompilersSoon (): void {
  setTimeout(() => {
    loadValidatorCompiler()
    loadSerializerCompiler()
  }, loadDelayMs).unref()
}

/** What cannot be compiled is a fault of ours, whatever it is. */
function compiledBy<Compiled> (compile: () => Compiled): Compiled {
  try {
    return compile()
  } catch (error) {
    throw new InternalServerError({ cause: error })
  }
}

/**
 * Makes validators that are compiled when the first value comes.
 *
 * @param build makes the compiler of all of them, once
 */
export function lazyValidators<Route> (build: () => (route: Route) => Validator): (route: Route) => Validator {
  let compile: ReturnType<typeof build> | undefined
  return (route) => {
    let compiled: Validator | undefined
    const validator: Validator = (value) => {
      compiled ??= compiledBy<Validator>(() => {
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
      serialize ??= compiledBy(() => {
        compile ??= loadSerializerCompiler()(schemas(), {})
        return compile(route)
      })
      return serialize(payload)
    }
  }
}

/** Both, where Fastify would load and compile at once: its `schemaController.compilersFactory`. */
export const lazyCompilers: { buildValidator: BuildCompilerFromPool, buildSerializer: ReturnType<typeof SerializerSelector> } = {
  // Fastify calls a validator and reads its `errors`, but types it as Ajv's own, with more members.
  buildValidator: (schemas, options) => lazyValidators(() => loadValidatorCompiler()(schemas, options)) as ReturnType<BuildCompilerFromPool>,
  buildSerializer: (schemas) => lazySerializers(() => schemas)
}
