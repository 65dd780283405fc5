import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type EventFilter, type EventRecord, eventRecord, ownEventRecord } from '../../plugins/audit/event.js'
import { ref } from '../../schema-ref.js'
import { adminRole } from '../../plugins/roles/role-name.js'
import { EventList, pageParameters, pageSize } from './schemas.js'

const list: FastifyPluginAsyncTypebox = async (app) => {
  /** The page that a query selects, and the cursor of the next one. */
  async function page ({ kind, cursor, limit = pageSize }: { kind?: string, cursor?: string, limit?: number }, filter: EventFilter): Promise<{ events: EventRecord[], next_cursor: string | null }> {
    const events = await app.audit.list({
      ...filter,
      kind,
      before: cursor === undefined ? undefined : Number(cursor)
    }, limit + 1)
    const shown = events.slice(0, limit)
    return { events: shown.map(eventRecord), next_cursor: events.length > limit ? String(shown.at(-1)?.id) : null }
  }

  app.get('/events', {
    onRequest: [app.requireRole(adminRole)],
    schema: {
      operationId: 'listEvents',
      tags: ['Events'],
      summary: 'List events',
      description: 'The audit log: the events of all users, or of one user.',
      querystring: Type.Object({
        user: Type.Optional(Type.String({ description: 'Only events of the user with this username, in any case. If no user has it, the list is empty.' })),
        user_id: Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'Only events of the user with this id, also if the user was deleted.' })),
        ...pageParameters
      }),
      response: { 200: ref(EventList) }
    }
  }, async ({ query }) => {
    const { user, user_id: userId } = query
    if (user === undefined) return await page(query, { userId })
    const id = (await app.users.find(user))?.id
    if (id === undefined || (userId ?? id) !== id) return { events: [], next_cursor: null }
    return await page(query, { userId: id })
  })

  app.get('/me/events', {
    onRequest: [app.authenticate],
    schema: {
      operationId: 'listMyEvents',
      tags: ['Events'],
      summary: 'List my events',
      description: 'Logins, failed logins and other events of your account. Events caused by another user omit the address, User-Agent and request id.',
      querystring: Type.Object(pageParameters),
      response: { 200: ref(EventList) }
    }
  }, async ({ query, currentUser }) => {
    const { events, next_cursor: cursor } = await page(query, { userId: currentUser.id })
    return { events: events.map(ownEventRecord), next_cursor: cursor }
  })
}

export default list
