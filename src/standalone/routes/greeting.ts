import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { adminRole } from '../../plugins/roles/role-name.js'

const text = (sentence: string) => ({
  description: 'A sentence.',
  content: { 'text/plain': { schema: Type.String(), examples: { text: { value: sentence } } } }
})

/** Greeting: an open route, a guarded route, and a route for admins. */
const greeting: FastifyPluginAsyncTypebox = async (app) => {
  const hello = 'Hello, World!'
  app.get('/', {
    schema: {
      operationId: 'hello',
      tags: ['Greeting'],
      summary: 'Say hello',
      description: 'Needs no token: shows that the server answers.',
      security: [],
      response: { 200: text(hello) }
    }
  }, async () => hello)

  const welcome = 'if you see this, that means your token is valid'
  for (const [url, operationId, where] of [
    ['/need_login', 'needLogin', 'The first guarded route.'],
    ['/api/v1/need_login', 'needLoginV1', 'The same as `GET /need_login`.']
  ] as const) {
    app.get(url, {
      preHandler: [app.authenticate],
      schema: {
        operationId,
        tags: ['Greeting'],
        summary: 'Try a token out',
        description: `${where} Needs a valid token.`,
        response: { 200: text(welcome) }
      }
    }, async () => welcome)
  }

  const admin = 'if you see this, that means you are an admin'
  app.get('/admin', {
    preHandler: [app.requireRole(adminRole)],
    schema: {
      operationId: 'needAdmin',
      tags: ['Greeting'],
      summary: 'Try a role out',
      description: 'Needs the role `admin`.',
      response: { 200: text(admin) }
    }
  }, async () => admin)
}

export default greeting
