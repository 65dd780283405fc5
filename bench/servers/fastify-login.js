// Fastify that only verifies passwords, some in parallel: no database, no token, no limits. The
// cost of HTTP around the hash, with the client on the same processors.
import { verify } from '@node-rs/argon2'
import Fastify from 'fastify'

const { HASH, CONCURRENCY, PORT } = process.env

const answer = { token: 'x'.repeat(240), token_type: 'Bearer', expires_in: 172_800 }
const waiting = []
let running = 0

async function verifyWhenFree (password) {
  if (running >= Number(CONCURRENCY)) await new Promise((resolve) => waiting.push(resolve))
  else running++
  try {
    return await verify(HASH, password)
  } finally {
    const next = waiting.shift()
    if (next === undefined) running--
    else next()
  }
}

const app = Fastify()
app.get('/', async () => 'ready')
app.post('/api/v1/login', async (request, reply) => await verifyWhenFree(request.body.password) ? answer : reply.code(401).send())
await app.listen({ host: '127.0.0.1', port: Number(PORT) })
