import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import Fastify from 'fastify'
import { pino } from 'pino'
import t from 'tap'
import { logDestination } from '../src/standalone/log-destination.js'
import { loggerOptions } from '../src/standalone/log-serializers.js'
import { RequestLogger } from '../src/standalone/request-logger.js'
import { databases } from './databases.js'
import { bob, build, buildOn, logIn, needLogin, secretKey, signUp, temporaryFolder, until } from './helper.js'

for (const database of databases) {
  t.test(database.name, async (t) => {
    const build = buildOn(database)

    t.test('requests · one line for each at info, two at debug, none at warn', async (t) => {
      for (const [level, messages] of [['info', ['request completed']], ['debug', ['incoming request', 'request completed']], ['warn', []]] as const) {
        const lines: string[] = []
        const app = await build(t, { LOG_LEVEL: level }, { logStream: { write: (line) => { lines.push(line) } } })
        await app.inject('/need_login?token=secret')
        await app.inject('/nothing')
        const logged = lines.map((line) => JSON.parse(line))
        t.same(logged.map(({ msg }) => msg), [...messages, ...messages])
        for (const line of logged) t.match(line, { level: Number, time: Number, reqId: /^[\w-]{12}-[1-9a-z]$/, req: { method: 'GET', path: /^\/(?:need_login|nothing)$/, address: '127.0.0.1' } })
        t.match(logged.filter(({ res }) => res !== undefined).map(({ res, responseTime }) => [res.statusCode, typeof responseTime]), level === 'warn' ? [] : [[400, 'number'], [404, 'number']])
        t.equal(new Set(logged.map(({ reqId }) => reqId)).size, level === 'warn' ? 0 : 2, 'each request has an id of its own')
      }
    })

    t.test('requests · not routable, or the client disconnects → one line', async (t) => {
      const lines: string[] = []
      const app = await build(t, { LOG_LEVEL: 'debug' }, { logStream: { write: (line) => { lines.push(line) } } })
      await app.inject('/%zz?secret')
      await app.inject({ method: 'DELETE', url: `/api/v1/roles/${'a'.repeat(300)}` })
      const { hostname, port } = new URL(await app.listen({ port: 0 }))
      const socket = connect(Number(port), hostname)
      socket.write('POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{')
      await until(() => lines.some((line) => line.includes('incoming request') && line.includes('/api/v1/login')))
      socket.destroy()
      await until(() => lines.some((line) => line.includes('request aborted')))
      const logged = lines.map((line) => JSON.parse(line)).filter(({ req, msg }) => req !== undefined && msg !== 'incoming request')
      t.match(logged, [
        { msg: 'request completed', req: { method: 'GET', path: '/%zz', address: '127.0.0.1' }, res: { statusCode: 404 } },
        { msg: 'request completed', req: { method: 'DELETE' }, res: { statusCode: 404 } },
        { msg: 'request aborted', req: { method: 'POST', path: '/api/v1/login' } }
      ])
      t.notMatch(lines.join(''), 'secret')
    })

    t.test('requests · the response fails → an error is logged', async (t) => {
      const lines: string[] = []
      const app = await build(t, { LOG_LEVEL: 'info' }, { logStream: { write: (line) => { lines.push(line) } } })
      app.addHook('onResponse', async () => { throw new Error('a failure') })
      app.get('/broken', { schema: { hide: true } }, async () => 'x')
      await app.inject('/broken')
      await new Promise((resolve) => setImmediate(resolve))
      t.match(lines.map((line) => JSON.parse(line)), [{ level: 50, msg: 'request errored', err: { message: 'a failure' } }, { msg: 'request completed' }])
    })

    t.test('outcomes · logged with user id and address, without secrets; a newline forges no line', async (t) => {
      const lines: string[] = []
      const app = await build(t, { LOG_LEVEL: 'trace' }, { logStream: { write: (line) => { lines.push(line) } } })
      await signUp(app)
      const token = (await logIn(app)).json().token
      await logIn(app, { ...bob, password: 'a wrong secret' })
      await logIn(app, { username: 'mallory\n{"level":30,"msg":"logged in","userId":1}', password: 'secret' })
      await needLogin(app, `Bearer ${token}`)
      await app.inject('/need_login?token=in-the-query')
      const log = lines.join('')
      for (const line of lines) t.equal(line.trimEnd().split('\n').length, 1)
      const outcomes = lines.map((line) => JSON.parse(line)).filter(({ outcome }) => outcome !== undefined)
      t.match(outcomes, [
        { event: 'signup', userId: 1, address: '127.0.0.1', outcome: 'success', reqId: String },
        { event: 'login', userId: 1, address: '127.0.0.1', outcome: 'success', reqId: String },
        { event: 'login_failure', userId: 1, address: '127.0.0.1', outcome: 'password_incorrect', reqId: String },
        { event: 'login_failure', address: '127.0.0.1', outcome: 'username_unknown', reqId: String }
      ])
      for (const secret of [bob.password, 'a wrong secret', token, '$argon2', 'in-the-query', secretKey, 'mallory']) {
        t.notOk(log.includes(secret), secret)
      }
    })
  })
}

t.test('RequestLogger · creates its child when it logs, and is one for the rest', async (t) => {
  const lines: string[] = []
  const parent = pino({ level: 'trace' }, { write: (line: string) => { lines.push(line) } })
  const log = new RequestLogger(parent, { reqId: 'one' }, { msgPrefix: 'a: ' })
  for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const) log[level](level)
  log.child({ more: true }).info('more')
  t.equal(log.level, 'trace')
  t.equal(log.msgPrefix, 'a: ')
  log.level = 'error'
  log.warn('nothing')
  t.equal(parent.level, 'trace')
  t.match(lines.map((line) => JSON.parse(line)), [...['trace', 'debug', 'info', 'warn', 'error', 'fatal'].map((level) => ({ reqId: 'one', msg: `a: ${level}` })), { reqId: 'one', more: true, msg: 'a: more' }])
  t.equal(lines.length, 7)
})

t.test('a request that logs nothing · no logger is created for it', async (t) => {
  const app = await build(t)
  const created: object[] = []
  app.log.child = (bindings: object) => {
    created.push(bindings)
    return pino()
  }
  t.equal((await app.inject('/')).statusCode, 200)
  t.equal((await needLogin(app, 'nothing')).statusCode, 401)
  t.same(created, [])
})

t.test('log serializers · the path without the query, also of an absolute URL', async (t) => {
  const { req } = loggerOptions.serializers
  const app = Fastify()
  t.teardown(() => app.close())
  const paths: Array<string | undefined> = []
  app.addHook('onRequest', async (request) => { paths.push(req(request).path) })
  for (const url of ['/a?token=x', '/a#x', '/']) await app.inject(url)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const [address] = app.addresses()
  const socket = connect(typeof address === 'object' ? address.port : 0, '127.0.0.1')
  socket.end('GET http://user:password@localhost/a?token=x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  await once(socket.resume(), 'close')
  t.same(paths, ['/a', '/a', '/', '/a'])
})

t.test('log destination · cannot be written → lines are dropped, and the next ones are written when it can be', async (t) => {
  const closed = openSync(join(temporaryFolder(t), 'log'), 'w')
  closeSync(closed)
  const lost = logDestination(closed)
  lost.write('lost\n')
  lost.flushSync()

  // A pipe that nobody reads takes 64 KiB; afterwards lines are dropped, not waited for.
  const reader = spawn('sleep', ['30'], { stdio: ['pipe', 'ignore', 'ignore'] })
  const { fd } = Object(reader.stdin)._handle
  const full = logDestination(fd)
  for (let i = 0; i < 30; i++) full.write(`${'x'.repeat(10_000)}\n`)
  full.flushSync()
  // Whoever waited for the reader would wait until it ends.
  t.equal(reader.exitCode, null)
  reader.kill('SIGKILL')
  await once(reader, 'exit')

  const file = join(temporaryFolder(t), 'log')
  const fileFd = openSync(file, 'w')
  const sink = logDestination(fileFd)
  sink.write('one\n')
  sink.write('two\n')
  t.equal(readFileSync(file, 'utf8'), '', 'lines of one turn are written at its end')
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(readFileSync(file, 'utf8'), 'one\ntwo\n')
  sink.write(`${'x'.repeat(20_000)}\n`)
  t.equal(readFileSync(file, 'utf8').length, 20_009, 'or when there are many')
  closeSync(fileFd)
})

t.test('log destination · a line that was cut short does not run into the next one', async (t) => {
  // It stops itself, and reads when it is told to go on.
  const reader = spawn('sh', ['-c', 'kill -STOP $$; cat'], { stdio: ['pipe', 'pipe', 'ignore'] })
  const { fd } = Object(reader.stdin)._handle
  const sink = logDestination(fd)
  sink.write(`${'x'.repeat(2_000_000)}\n`)
  const goOn = setInterval(() => reader.kill('SIGCONT'), 10)
  t.teardown(() => clearInterval(goOn))
  let read = ''
  for await (const piece of reader.stdout.setEncoding('utf8')) {
    read += piece
    if (!reader.stdin.writableEnded) {
      sink.write('{"whole":true}\n')
      sink.flushSync()
      reader.stdin.end()
    }
  }
  t.match(read.split('\n'), [/^x+$/, '{"whole":true}', ''])
  t.ok(read.length < 2_000_000)
})
