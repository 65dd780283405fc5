// Fastify without authentication, as its README shows it. ACCOUNT is the JSON of the response.
import Fastify from 'fastify'

const text = 'if you see this, that means your token is valid'
const account = JSON.parse(process.env.ACCOUNT)

const fastify = Fastify()
fastify.get('/', async () => text)
fastify.get('/json', async () => account)
await fastify.listen({ port: Number(process.env.PORT), host: process.env.HOST })
