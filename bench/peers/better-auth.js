// better-auth on Fastify and better-sqlite3, as its documentation shows it: e-mail and password,
// a cookie for the session. It signs USERS users up, with PASSWORD.
// https://better-auth.com/docs/integrations/fastify
import { betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { fromNodeHeaders } from 'better-auth/node'
import Database from 'better-sqlite3'
import Fastify from 'fastify'

const { HOST, PORT, SECRET_KEY, USERS, PASSWORD } = process.env

const database = new Database('better-auth.sqlite')
database.pragma('journal_mode = WAL')

const auth = betterAuth({
  baseURL: `http://${HOST}:${PORT}`,
  secret: SECRET_KEY,
  database,
  emailAndPassword: { enabled: true },
  // One address sends all logins.
  rateLimit: { enabled: false },
  telemetry: { enabled: false }
})
const { runMigrations } = await getMigrations(auth.options)
await runMigrations()
await Promise.all(Array.from({ length: Number(USERS) }, (_, i) =>
  auth.api.signUpEmail({ body: { name: `user${i + 1}`, email: `user${i + 1}@example.com`, password: PASSWORD } })))

const fastify = Fastify()

fastify.route({
  method: ['GET', 'POST'],
  url: '/api/auth/*',
  async handler (request, reply) {
    const response = await auth.handler(new Request(new URL(request.url, `http://${request.headers.host}`), {
      method: request.method,
      headers: fromNodeHeaders(request.headers),
      ...request.body ? { body: JSON.stringify(request.body) } : {}
    }))
    reply.status(response.status)
    response.headers.forEach((value, key) => reply.header(key, value))
    return reply.send(response.body ? await response.text() : null)
  }
})

async function authenticate (request, reply) {
  const session = await auth.api.getSession({ headers: fromNodeHeaders(request.headers) })
  if (session === null) return reply.code(401).send({ message: 'Unauthorized' })
  request.user = session.user
}

fastify.get('/', async () => 'Hello, World!')
fastify.get('/need_login', { preHandler: [authenticate] }, async () => 'if you see this, that means your token is valid')
await fastify.listen({ port: Number(PORT), host: HOST })
