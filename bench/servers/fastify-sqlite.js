// A minimal Fastify server with a database, to compare startup time and memory.
import Database from 'better-sqlite3'
import Fastify from 'fastify'

const db = new Database(process.env.DATABASE_FILE)
db.pragma('journal_mode = WAL')
const findUser = db.prepare('SELECT id, username, email, created_at FROM users WHERE id = ?')

const fastify = Fastify()
fastify.get('/', async () => 'Hello, World!')
fastify.get('/user', async () => findUser.get(1))
await fastify.listen({ port: Number(process.env.PORT), host: process.env.HOST })
