// The guard that the READMEs of @fastify/jwt and drizzle-orm show: it verifies the token and
// reads the user. Its tokens cannot be revoked.
import fastifyJwt from '@fastify/jwt'
import Database from 'better-sqlite3'
import { eq } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/better-sqlite3'
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import Fastify from 'fastify'

const users = sqliteTable('users', {
  id: integer('id').primaryKey(),
  username: text('username').notNull(),
  email: text('email'),
  passwordHash: text('password_hash').notNull(),
  createdAt: integer('created_at', { mode: 'timestamp_ms' }).notNull()
})

const sqlite = new Database(process.env.DATABASE_FILE)
sqlite.pragma('journal_mode = WAL')
const db = drizzle({ client: sqlite })

const fastify = Fastify()
fastify.register(fastifyJwt, { secret: process.env.SECRET_KEY })

fastify.decorate('authenticate', async (request, reply) => {
  try {
    await request.jwtVerify()
  } catch (error) {
    return reply.send(error)
  }
  const [user] = await db.select().from(users).where(eq(users.id, request.user.user_id))
  if (user === undefined) return reply.code(401).send({ message: 'Unauthorized' })
  request.user = user
})

fastify.get('/', async () => 'Hello, World!')
fastify.get('/need_login', { onRequest: [fastify.authenticate] }, async () => 'if you see this, that means your token is valid')
await fastify.listen({ port: Number(process.env.PORT), host: process.env.HOST })
