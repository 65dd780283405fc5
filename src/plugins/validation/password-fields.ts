import type { FastifyInstance } from 'fastify'
import { canonicalPassword, passwordMaxUnits } from '../passwords/policy.js'

const passwordFormats = new Set<unknown>(['current-password', 'new-password'])

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** The names of the password fields of a body, from its schema or the schema that it refers to. */
export function passwordFields (app: FastifyInstance, body: unknown): string[] {
  if (!isRecord(body)) return []
  const schema = typeof body.$ref === 'string' ? app.getSchema(body.$ref.replace('#', '')) : body
  const properties = isRecord(schema) && isRecord(schema.properties) ? schema.properties : {}
  return Object.entries(properties)
    .filter(([, property]) => isRecord(property) && passwordFormats.has(property.format))
    .map(([name]) => name)
}

/** Normalizes passwords (NFC). Text that is too long for a password stays unchanged: validation rejects it. */
export function normalizePasswords (body: unknown, fields: string[]): void {
  if (!isRecord(body)) return
  for (const field of fields) {
    const value = body[field]
    if (typeof value === 'string' && value.length <= passwordMaxUnits) body[field] = canonicalPassword(value)
  }
}
