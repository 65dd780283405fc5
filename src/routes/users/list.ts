import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ValidationFailed } from '../../errors.js'
import { adminRole } from '../../plugins/roles/role-name.js'
import { canonicalUsername } from '../../plugins/users/username.js'
import { ref } from '../../schema-ref.js'
import { managedUser } from './bodies.js'
import { UserList } from './schemas.js'

/** How many accounts a page has by default. */
const pageSize = 50
/** More than the cursor of the longest username. */
const cursorMaxLength = 90

/** The cursor of the page after an account: opaque to clients. */
const cursorAfter = (username: string): string => Buffer.from(username.toLowerCase()).toString('base64url')

/**
 * The canonical username in a cursor.
 *
 * @throws {ValidationFailed} no page has this cursor
 */
function keyIn (cursor: string): string {
  const key = Buffer.from(cursor, 'base64url').toString()
  if (canonicalUsername(key) !== key || cursorAfter(key) !== cursor) throw new ValidationFailed([{ field: 'cursor', message: 'cursor must be the next_cursor of a page' }])
  return key
}

const list: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/users', {
    onRequest: [app.requireRole(adminRole)],
    schema: {
      operationId: 'listUsers',
      tags: ['Users'],
      summary: 'List users',
      description: 'Lists accounts by username. All of the conditions in the query must hold; text that no account can have selects none.',
      querystring: Type.Object({
        search: Type.Optional(Type.String({ description: 'Only accounts whose username begins with this, in any case. No character stands for others.' })),
        email: Type.Optional(Type.String({ description: 'Only the account with this email, in any case.' })),
        role: Type.Optional(Type.String({ description: 'Only accounts that have this role.' })),
        disabled: Type.Optional(Type.Boolean({ description: '`true`: only disabled accounts; `false`: only enabled ones.' })),
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: pageSize, description: 'The maximum number of accounts.' })),
        cursor: Type.Optional(Type.String({ maxLength: cursorMaxLength, description: 'The `next_cursor` of the previous page.' }))
      }),
      response: { 200: ref(UserList) }
    }
  }, async ({ query: { search, email, role, disabled: isDisabled, limit = pageSize, cursor } }) => {
    const afterKey = cursor === undefined ? undefined : keyIn(cursor)
    const users = await app.users.listByName({ search, email, role, isDisabled, afterKey }, limit + 1)
    const shown = users.slice(0, limit)
    const last = shown.at(-1)
    return { users: shown.map(managedUser), next_cursor: users.length > limit && last !== undefined ? cursorAfter(last.username) : null }
  })
}

export default list
