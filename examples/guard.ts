// A Fastify app of one's own, with accounts and a guarded route.
import Fastify from 'fastify'
import latchkey from 'latchkey'

const app = Fastify({ logger: true })

await app.register(latchkey, {
  databaseUrl: 'sqlite:///data/app.sqlite',
  secretKey: String(process.env.SECRET_KEY) // refused when it is not one
})

app.get('/mine', { preHandler: [app.authenticate] }, async (request) => {
  return `hello, ${request.currentUser.username}`
})

app.get('/editors', { preHandler: [app.requireRole('editor', 'admin')] }, async () => 'hello, editor')

await app.listen({ port: 3000 })
