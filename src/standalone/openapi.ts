import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import swagger from '@fastify/swagger'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'

/**
 * The contract, made from the routes that are registered after it: `/openapi.yaml`
 * and `/openapi.json`. Nothing in it depends on a setting.
 *
 * @see https://github.com/fastify/fastify-swagger
 */
const plugin: FastifyPluginAsync = async (app) => {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'))
  await app.register(swagger, {
    convertConstToEnum: false,
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Latchkey',
        summary: 'Sign up, log in, protect your routes.',
        description: [
          'Username and password in, token out: `POST /api/v1/signup`, then `POST /api/v1/login`.',
          'Send the token as `Authorization: Bearer <token>`; the bare token is understood as well.',
          'To try it here: sign up, log in, copy the `token`, press **Authorize**, then call `GET /need_login`.',
          '',
          'Failures have one shape: `statusCode`, `code` (for programs), `error`, `message` (for people).'
        ].join('\n'),
        version: String(version),
        license: { name: 'MIT', identifier: 'MIT' }
      },
      servers: [{ url: '/', description: 'This server.' }],
      tags: [
        { name: 'Accounts', description: 'Getting an account, changing it, leaving.' },
        { name: 'Sessions', description: 'Getting tokens, seeing them, taking them back.' },
        { name: 'Roles', description: 'Who may do what; for admins.' },
        { name: 'Events', description: 'What happened: the audit trail.' },
        { name: 'Greeting', description: 'Using the token.' },
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
      // Every schema of ours has an $id: it is the component's name, without our prefix.
      buildLocalReference: ({ $id }) => String($id).replace(/^latchkey\./, '')
    }
  })

  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  app.get('/openapi.yaml', { schema: { hide: true } }, async (request, reply) =>
    reply.type('application/yaml; charset=utf-8').send(app.swagger({ yaml: true })))
}

export default fp(plugin, { name: 'latchkey-openapi', fastify: '5.x' })
