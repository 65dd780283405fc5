// A Fastify app with accounts under /api/v1 and two guarded routes.
import Fastify from 'fastify'
import latchkey from 'latchkey'

const app = Fastify({ logger: true })

await app.register(latchkey, {
  databaseUrl: 'sqlite:///data/app.sqlite',
  secretKey: String(process.env.SECRET_KEY) // an invalid key stops startup
})

// Guards are arrays: without the `await` above, Fastify would refuse `[undefined]`, but take `undefined` for "no guard".
app.get('/mine', { preHandler: [app.authenticate] }, async (request) => {
  return `hello, ${request.currentUser.username}`
})

app.get('/editors', { preHandler: [app.requireRole('editor', 'admin')] }, async () => 'hello, editor')

await app.listen({ port: 3000 })
