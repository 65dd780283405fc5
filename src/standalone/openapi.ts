import { readFileSync } from 'node:fs'
import swagger from '@fastify/swagger'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'

/**
 * Serves the OpenAPI document at `/openapi.yaml` and `/openapi.json`, generated from the routes
 * registered after this plugin. No setting changes it.
 *
 * @see https://github.com/fastify/fastify-swagger
 */
const plugin: FastifyPluginAsync = async (app) => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  await app.register(swagger, {
    convertConstToEnum: false,
    // The server has no path that routes begin with.
    stripBasePath: false,
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Latchkey',
        summary: 'Sign up, log in, protect your routes.',
        description: [
          'Sign up with a username and a password (`POST /api/v1/signup`), then log in to get a token (`POST /api/v1/login`).',
          'Send the token as `Authorization: Bearer <token>`; the bare token is accepted as well.',
          'To try the API on this page: sign up, log in, copy the `token`, press **Authorize**, then call `GET /need_login`.',
          '',
          'All errors have the same members: `statusCode`, `code` (for programs), `error`, `message` (for people).'
        ].join('\n'),
        version: String(version),
        license: { name: 'MIT', identifier: 'MIT' }
      },
      // Relative to the document (OpenAPI 3.1, section 4.8.5): below the path of a proxy as well.
      servers: [{ url: '.', description: 'This server.' }],
      tags: [
        { name: 'Accounts', description: 'Sign up, change and delete your account.' },
        { name: 'Sessions', description: 'Create, list and revoke tokens.' },
        { name: 'Passwords', description: 'Set a new password when the old one is forgotten.' },
        { name: 'Users', description: 'Create, find, disable and delete the accounts of others; for admins.' },
        { name: 'Roles', description: 'Manage roles and who has them; for admins.' },
        { name: 'Invitations', description: 'Invite people to sign up; for admins.' },
        { name: 'Addresses', description: 'The limits of client addresses; for admins.' },
        { name: 'Events', description: 'The audit log.' },
        { name: 'Greeting', description: 'Try out a token.' },
        { name: 'Health', description: 'For load balancers and orchestrators.' }
      ],
      components: {
        securitySchemes: {
          bearerAuth: {
            type: 'http',
            scheme: 'bearer',
            bearerFormat: 'JWT',
            description: 'The `token` of `POST /api/v1/login`.'
          }
        }
      }
    },
    refResolver: {
      // The name of a component is the $id of our schema without the prefix.
      buildLocalReference: ({ $id }) => String($id).replace(/^latchkey\./, '')
    }
  })

  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  app.get('/openapi.yaml', { schema: { hide: true } }, async (request, reply) =>
    reply.type('application/yaml; charset=utf-8').send(app.swagger({ yaml: true })))
}

export default fp(plugin, { name: 'latchkey-openapi', fastify: '5.x' })
