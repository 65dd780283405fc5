import { Type } from '@sinclair/typebox'
import { eventKinds, eventOutcomes, eventSources } from '../../plugins/audit/event.js'
import { ref } from '../../schema-ref.js'

const nullable = (type: string, options: object) => ({ type: [type, 'null'], ...options })

export const EventBody = Type.Object({
  id: Type.Integer({ minimum: 1, description: 'Later events have higher ids.', examples: [42] }),
  time: Type.String({ format: 'date-time', description: 'When it happened (RFC 3339, UTC).', examples: ['2026-11-24T20:44:00.000Z'] }),
  kind: Type.String({ enum: eventKinds, description: 'What happened.', examples: ['login'] }),
  outcome: Type.String({ enum: [...eventOutcomes], description: '`success`, or why it failed.', examples: ['success'] }),
  source: Type.String({ enum: [...eventSources], description: 'What caused it: `http` (a request), `cli` (the command line) or `app` (the app that embeds Latchkey).', examples: ['http'] }),
  user_id: Type.Unsafe<number | null>(nullable('integer', { description: 'The id of the user it happened to; null if the event has no user.', examples: [1] })),
  username: Type.Unsafe<string | null>(nullable('string', { description: 'The username of that user; null if the user was deleted.', examples: ['ada'] })),
  actor_id: Type.Unsafe<number | null>(nullable('integer', { description: 'The id of the user who caused it, if that is another user.', examples: [null] })),
  detail: Type.Unsafe<string | null>(nullable('string', { description: 'Details, such as the role or the id of the token.', examples: [null] })),
  address: Type.Unsafe<string | null>(nullable('string', { description: 'The IP address of the client.', examples: ['203.0.113.7'] })),
  user_agent: Type.Unsafe<string | null>(nullable('string', { description: 'The start of the User-Agent header.', examples: ['curl/8.14.1'] })),
  request_id: Type.Unsafe<string | null>(nullable('string', { description: 'The `reqId` of the request in the server log.', examples: ['wtZmQ_ziJoRT-2f'] }))
}, { $id: 'latchkey.Event', description: 'An event of the audit log.' })

export const EventList = Type.Object({
  events: Type.Array(ref(EventBody), { description: 'Newest first.' }),
  next_cursor: Type.Unsafe<string | null>(nullable('string', { description: 'Send it as `cursor` to get the next page; null on the last page.', examples: ['41'] }))
}, { $id: 'latchkey.EventList', description: 'A page of events.' })

/** How many events a page has by default. */
export const pageSize = 50

/** The query parameters of every list of events. */
export const pageParameters = {
  kind: Type.Optional(Type.String({ enum: eventKinds, description: 'Only events of this kind.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: pageSize, description: 'The maximum number of events.' })),
  cursor: Type.Optional(Type.String({ pattern: '^[1-9]\\d{0,14}$', description: 'The `next_cursor` of the previous page.' }))
}
