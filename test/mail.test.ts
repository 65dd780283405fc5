import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { generate } from 'selfsigned'
import t, { type Test } from 'tap'
import { workQueue } from '../src/lib/work-queue.js'
import type { Mail } from '../src/plugins/mail/mail.js'
import { emailVerificationMail, passwordChangedMail } from '../src/plugins/mail/messages.js'
import { mailQueue } from '../src/plugins/mail/queue.js'
import { parseMailFrom, parseSmtpUrl } from '../src/plugins/mail/settings.js'
import { smtpSender } from '../src/plugins/mail/smtp.js'
import { resolveOptions } from '../src/resolve-options.js'
import { servicesOf } from '../src/services.js'
import { ConfigError, loadConfig } from '../src/standalone/config.js'
import { asUser } from '../src/testing.js'
import { build, logIn, needLogin, secretKey, startServer, temporaryFolder, until } from './helper.js'
import { smtpError, startSilentServer, startSmtpServer } from './smtp-server.js'

const code = '7M2K9QXV4TBN8DHP3WZR6FYC'
const to = 'ada@example.com'
const mail = emailVerificationMail({ to, username: 'ada' }, { code, url: `https://login.example.com/ui/verify#${code}` })
const from = 'Latchkey <login@example.com>'

/** What is logged from now on. */
function logOf () {
  const lines: string[] = []
  return { lines, logStream: { write: (line: string) => { lines.push(line) } } }
}

/** No line has an address, a code or a text. */
function tellsNothing (t: Test, lines: string[]): void {
  t.notMatch(lines.join(''), new RegExp(`${to}|${code}|${code.toLowerCase()}|Confirm your email`))
}

t.test('SMTP_URL, MAIL_FROM', async (t) => {
  const problemsOf = (env: Record<string, string>) => {
    try {
      loadConfig({ SECRET_KEY: secretKey, ...env })
      return []
    } catch (error) {
      if (error instanceof ConfigError) return error.problems
      throw error
    }
  }

  t.test('valid → the mail server and the sender', async (t) => {
    for (const [url, server] of [
      ['smtp://mail.example.com', { host: 'mail.example.com', tls: 'starttls' }],
      ['smtp://mail.example.com:587/', { host: 'mail.example.com', port: 587, tls: 'starttls' }],
      ['smtps://bob%40example.com:p%2Fw%23@mail.example.com', { host: 'mail.example.com', tls: 'implicit', auth: { user: 'bob@example.com', pass: 'p/w#' } }],
      ['smtp://relay:25?tls=off', { host: 'relay', port: 25, tls: 'off' }],
      ['smtp://localhost:1025', { host: 'localhost', port: 1025, tls: 'off' }],
      ['smtp://127.0.0.1', { host: '127.0.0.1', tls: 'off' }],
      ['smtp://[::1]:25', { host: '::1', port: 25, tls: 'off' }],
      ['smtp://127.0.0.1.example.com', { host: '127.0.0.1.example.com', tls: 'starttls' }]
    ] as const) t.same(parseSmtpUrl(url), server, url)
    for (const [text, sender] of [
      ['login@example.com', { name: '', address: 'login@example.com' }],
      [from, { name: 'Latchkey', address: 'login@example.com' }],
      ['Žižkov, s. r. o. <login@example.com>', { name: 'Žižkov, s. r. o.', address: 'login@example.com' }],
      ['<login@example.com>', { name: '', address: 'login@example.com' }]
    ] as const) t.same(parseMailFrom(text), sender, text)
    t.match(loadConfig({ SECRET_KEY: secretKey, SMTP_URL: 'smtp://localhost', MAIL_FROM: from }), { smtpUrl: 'smtp://localhost', mailFrom: from })
  })

  t.test('invalid → one problem, without the password', async (t) => {
    for (const SMTP_URL of [
      'mail.example.com', 'http://mail.example.com', 'smtp:', 'smtp://', 'smtp://host:0', 'smtp://host:99999', 'smtp://bob@host', 'smtp://:hunter2@host', 'smtp://bob:hunter2%@host', 'smtp://bob:hunter2/x@host',
      'smtp://bob:hunter2#x@host', 'smtp://host/path', 'smtp://host?tls=on', 'smtp://host?tls=off&tls=off', 'smtps://host?tls=off', 'smtp://host#x', 'smtp://ho st', `smtp://${'x'.repeat(1_000)}`
    ]) {
      const problems = problemsOf({ SMTP_URL, MAIL_FROM: from })
      t.match(problems, [/^SMTP_URL must be like smtp:/], SMTP_URL)
      t.equal(problems.length, 1)
      t.notMatch(problems.join(), 'hunter2')
    }
    for (const MAIL_FROM of ['login', 'Latchkey', 'a@example.com, b@example.com', 'Latchkey <login>', 'Latchkey <a@example.com> <b@example.com>', 'Evil\r\nBcc: x@example.com <login@example.com>', 'a@example.com\nBcc: b@example.com', '"Quoted" <login@example.com>', 'x'.repeat(600)]) {
      t.match(problemsOf({ SMTP_URL: 'smtp://localhost', MAIL_FROM }), [/^MAIL_FROM must be one address/], MAIL_FROM)
    }
  })

  t.test('one without the other → its name; SMTP_URL and sendMail → rejected', async (t) => {
    t.same(problemsOf({ SMTP_URL: 'smtp://localhost' }), ['MAIL_FROM is not set: SMTP_URL needs it'])
    t.same(problemsOf({ MAIL_FROM: from }), ['SMTP_URL is not set: MAIL_FROM needs it'])
    const options = { databaseUrl: 'sqlite://', secretKey }
    t.throws(() => resolveOptions({ ...options, smtpUrl: 'smtp://localhost' }), { message: 'latchkey: mailFrom is not set: smtpUrl needs it' })
    t.throws(() => resolveOptions({ ...options, smtpUrl: 'smtp://localhost', mailFrom: from, sendMail: async () => {} }), { message: 'latchkey: sendMail and smtpUrl must not both be set' })
    t.match(resolveOptions({ ...options, smtpUrl: 'smtp://localhost', mailFrom: from }), { smtpUrl: 'smtp://localhost' })
  })
})

t.test('a mail → arrives with its envelope, its headers and its text', async (t) => {
  const smtp = await startSmtpServer(t)
  const { lines, logStream } = logOf()
  const app = await build(t, { SMTP_URL: smtp.url, MAIL_FROM: from, LOG_LEVEL: 'trace', METRICS_PORT: '0' }, { logStream })
  const { mail: mailer } = servicesOf(app)
  t.equal(mailer.isEnabled, true)
  mailer.send(mail)
  await until(() => mailer.counts().sent === 1)
  t.match(smtp.received, [{
    from: 'login@example.com',
    to: [to],
    headers: {
      from,
      to,
      subject: 'Confirm your email address',
      'auto-submitted': 'auto-generated',
      'content-type': /^text\/plain; charset=utf-8/,
      'message-id': /^<[^@]+@example\.com>$/,
      date: /\d{4}/,
      'mime-version': '1.0'
    },
    text: mail.text
  }])
  t.notOk('x-mailer' in Object(smtp.received[0]?.headers))
  tellsNothing(t, lines)
  const metrics = (await app.metrics.listener.inject('/metrics')).body
  for (const series of ['latchkey_mails_total{outcome="sent"} 1', 'latchkey_mails_total{outcome="failed"} 0', 'latchkey_mails_total{outcome="dropped"} 0', 'latchkey_mails_queued 0']) t.match(metrics, series)
})

t.test('an address and a text beyond ASCII → arrive as they are', async (t) => {
  const smtp = await startSmtpServer(t)
  const app = await build(t, { SMTP_URL: smtp.url, MAIL_FROM: 'Žižkov <login@example.com>' })
  servicesOf(app).mail.send({ ...mail, to: 'zoë+1@bücher.example', text: 'Žluťoučký kůň\n' })
  await until(() => smtp.received.length === 1)
  const [{ to: recipients = [], headers = {}, text = '' } = {}] = smtp.received
  t.same(recipients.map((address) => address.normalize()), ['zoë+1@bücher.example'])
  t.match(headers.from, /^=\?UTF-8\?.*<login@example\.com>$/)
  const decoded = headers['content-transfer-encoding'] === 'base64' ? Buffer.from(text, 'base64') : Buffer.from(text.replace(/=\n/g, '').replace(/=([0-9A-F]{2})/g, (match, hex) => String.fromCharCode(parseInt(hex, 16))), 'latin1')
  t.equal(decoded.toString('utf8'), 'Žluťoučký kůň\n')
})

t.test('mail server answers 4xx → the mail is tried again, and arrives', async (t) => {
  let tries = 0
  const smtp = await startSmtpServer(t, { onRcptTo: ({ address }, session, done) => done(tries++ === 0 ? smtpError(451, `${address} is greylisted`) : null) })
  const { lines, logStream } = logOf()
  const app = await build(t, { SMTP_URL: smtp.url, MAIL_FROM: from, LOG_LEVEL: 'trace' }, { logStream })
  servicesOf(app).mail.send(mail)
  await until(() => smtp.received.length === 1)
  t.equal(tries, 2)
  t.match(lines.map((line) => JSON.parse(line)), [{ level: 40, kind: 'email_verification', failure: { responseCode: 451, command: 'RCPT TO' }, msg: 'a mail could not be sent: it is tried again' }])
  tellsNothing(t, lines)
})

t.test('mail server answers 5xx → the mail is not tried again', async (t) => {
  let tries = 0
  const smtp = await startSmtpServer(t, {
    onRcptTo ({ address }, session, done) {
      tries++
      done(smtpError(550, `${address} is unknown: Confirm your email address`))
    }
  })
  const { lines, logStream } = logOf()
  const app = await build(t, { SMTP_URL: smtp.url, MAIL_FROM: from, LOG_LEVEL: 'trace' }, { logStream })
  servicesOf(app).mail.send(mail)
  await until(() => servicesOf(app).mail.counts().failed === 1)
  t.same(servicesOf(app).mail.counts(), { sent: 0, failed: 1, dropped: 0, queued: 0 })
  t.equal(tries, 1)
  t.match(lines.map((line) => JSON.parse(line)), [{ level: 50, kind: 'email_verification', failure: { responseCode: 550 }, msg: 'a mail could not be sent' }])
  tellsNothing(t, lines)
})

t.test('no mail server there, or sendMail fails → three tries, nothing of the error\'s message in the log', async (t) => {
  const { lines, logStream } = logOf()
  const log = pino({ level: 'trace' }, logStream)
  const silent = await startSmtpServer(t)
  const refused = await smtpSender({ host: '127.0.0.1', port: 1, tls: 'off' }, { name: '', address: 'login@example.com' })
  let tries = 0
  for (const [send, failure] of [
    [async (mail: Mail, signal: AbortSignal) => {
      tries++
      return await refused(mail, signal)
    }, { originalCode: 'ECONNREFUSED' }],
    [async () => {
      tries++
      throw new TypeError(`cannot send ${code} to ${to}`)
    }, { name: 'TypeError' }]
  ] as const) {
    tries = lines.length = 0
    const queue = mailQueue(send, log, [1, 2])
    queue.add(mail)
    await until(() => queue.counts().failed === 1)
    t.equal(tries, 3)
    t.match(lines.map((line) => JSON.parse(line)), [{ level: 40, failure }, { level: 40, failure }, { level: 50, failure, msg: 'a mail could not be sent' }])
    tellsNothing(t, lines)
  }
  t.equal(silent.received.length, 0)
})

t.test('more mails than the queue has room for → dropped and counted, one log line; four are sent at once', async (t) => {
  const { lines, logStream } = logOf()
  let [running, most] = [0, 0]
  let release = () => {}
  const released = new Promise<void>((resolve) => { release = resolve })
  const app = await build(t, { LOG_LEVEL: 'trace' }, {
    logStream,
    async sendMail () {
      most = Math.max(most, ++running)
      await released
      running--
    }
  })
  const { mail: mailer } = servicesOf(app)
  for (let i = 0; i < 1_010; i++) mailer.send(mail)
  t.same(mailer.counts(), { sent: 0, failed: 0, dropped: 10, queued: 1_000 })
  t.match(lines.map((line) => JSON.parse(line)), [{ level: 50, msg: 'Mails dropped: the queue is full or closed.' }])
  t.equal((await app.inject('/health/ready')).statusCode, 200)
  release()
  await until(() => mailer.counts().sent === 1_000)
  t.equal(most, 4)
  mailer.send(mail)
  await until(() => mailer.counts().sent === 1_001)
})

t.test('closing → what pauses is tried for the last time; what comes later is dropped', async (t) => {
  const { lines, logStream } = logOf()
  const log = pino({ level: 'trace' }, logStream)
  let isUp = false
  const sent: Mail[] = []
  const queue = mailQueue(async (mail) => {
    if (!isUp) throw new Error('down')
    sent.push(mail)
  }, log, [3_600_000])
  queue.add(mail)
  await until(() => lines.length === 1)
  isUp = true
  await queue.close(60_000)
  t.same(sent, [mail])
  queue.add(mail)
  t.same(queue.counts(), { sent: 1, failed: 0, dropped: 1, queued: 0 })

  isUp = false
  const other = mailQueue(async () => { throw new Error('down') }, log, [3_600_000])
  other.add(mail)
  await other.close(60_000)
  t.match(other.counts(), { sent: 0, dropped: 1 })
  t.match(JSON.parse(lines.at(-1) ?? ''), { count: 1, msg: 'Mails lost: they could not be sent before the shutdown.' })
})

t.test('work queue · a job that runs again waits its pause, and holds up no other', async (t) => {
  const done: string[] = []
  const queue = workQueue({ concurrency: 1, maxSize: 10, onDrop: () => t.fail('dropped') })
  let runs = 0
  queue.add(async () => {
    done.push(`again ${runs}`)
    return runs++ === 0 ? 20 : undefined
  })
  queue.add(async () => {
    done.push('other')
    return undefined
  })
  await until(() => queue.size() === 0)
  t.same(done, ['again 0', 'other', 'again 1'])
  t.equal(await queue.close(0), 0)
})

t.test('mail server is silent → no request waits for it, and closing ends', async (t) => {
  const silent = await startSilentServer(t)
  const { lines, logStream } = logOf()
  const app = await build(t, { SMTP_URL: silent.url, MAIL_FROM: from, LOG_LEVEL: 'error' }, { logStream })
  for (let i = 0; i < 6; i++) servicesOf(app).mail.send(mail)
  await until(() => silent.connections() === 4)
  const { token } = await asUser(app, 'bob')
  t.equal((await needLogin(app, token)).statusCode, 200)
  await app.close()
  t.match(lines.map((line) => JSON.parse(line)), [{ count: 6, msg: 'Mails lost: they could not be sent before the shutdown.' }])
  t.match(servicesOf(app).mail.counts(), { sent: 0, failed: 0, dropped: 6 })
})

t.test('TLS', async (t) => {
  const { cert, private: key } = await generate([{ name: 'commonName', value: '127.0.0.1' }], { extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }] })
  const sender = { name: '', address: 'login@example.com' }
  const signal = new AbortController().signal

  t.test('required, and the server has none, or a certificate that nobody vouches for → nothing is sent', async (t) => {
    for (const [tls, options] of [['starttls', { hideSTARTTLS: true }], ['starttls', { cert, key }], ['implicit', { cert, key, secure: true }]] as const) {
      const smtp = await startSmtpServer(t, { ...options, onMailFrom: () => t.fail('a sender was named') })
      const send = await smtpSender({ host: '127.0.0.1', port: smtp.port, tls }, sender)
      await t.rejects(send(mail, signal))
      t.same(smtp.received, [])
    }
  })

  t.test('the built server, smtps:// with a user → the mail arrives, and no secret is printed', async (t) => {
    const smtp = await startSmtpServer(t, {
      cert,
      key,
      secure: true,
      disabledCommands: [],
      onAuth: ({ username, password }, session, done) => username === 'b@b' && password === 'p w/d' ? done(null, { user: 'b' }) : done(new Error('no'))
    })
    const folder = temporaryFolder(t)
    const [database, ca] = [`sqlite:///${join(folder, 'latchkey.sqlite')}`, join(folder, 'ca.pem')]
    writeFileSync(ca, cert)
    await createAda(t, database)
    const server = startServer(t, folder, { DATABASE_URL: database, NODE_EXTRA_CA_CERTS: ca, SMTP_URL: `smtps://b%40b:p%20w%2fd@127.0.0.1:${smtp.port}`, MAIL_FROM: from, LOG_LEVEL: 'trace' })
    t.equal(await requestReset(await server.listening), 202)
    await until(() => smtp.received.length === 1)
    t.match(smtp.received, [{ to: [to], headers: { subject: 'Set a new password' } }])
    server.child.kill('SIGTERM')
    t.equal(await server.exited, 0)
    t.notMatch(server.output(), /p w\/d|p%20w|ada@example/)
  })
})

/** Creates a user with a verified address in a database. */
async function createAda (t: Test, database: string): Promise<void> {
  const app = await build(t, { DATABASE_URL: database })
  await asUser(app, 'ada', { email: to, emailVerified: true })
  await app.close()
}

const requestReset = async (url: string) =>
  (await fetch(`${url}/api/v1/password-reset`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email: to }) })).status

t.test('the built server, mail server is silent · SIGTERM → it ends in time with exit code 0, and says what is lost', async (t) => {
  const silent = await startSilentServer(t)
  const folder = temporaryFolder(t)
  const database = `sqlite:///${join(folder, 'latchkey.sqlite')}`
  await createAda(t, database)
  const server = startServer(t, folder, { DATABASE_URL: database, SMTP_URL: silent.url, MAIL_FROM: from })
  t.equal(await requestReset(await server.listening), 202)
  await until(() => silent.connections() === 1)
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)
  t.match(server.output(), 'Mails lost: they could not be sent before the shutdown.')
})

t.test('the built server · nodemailer is loaded only with SMTP_URL', async (t) => {
  const prelude = `
    import { writeSync } from 'node:fs'
    import module from 'node:module'
    const load = module._load
    module._load = (name, ...rest) => {
      if (name === 'nodemailer') writeSync(1, 'loads nodemailer\\n')
      return load(name, ...rest)
    }`
  for (const [env, isLoaded] of [[{}, false], [{ SMTP_URL: 'smtp://127.0.0.1:1', MAIL_FROM: from }, true]] as const) {
    const server = startServer(t, temporaryFolder(t), { DATABASE_URL: 'sqlite://', ...env }, prelude)
    await server.listening
    await delay(100)
    t.equal(server.output().includes('loads nodemailer'), isLoaded)
  }
})

t.test('no way to send mails → nothing happens', async (t) => {
  const app = await build(t)
  const { mail: mailer } = servicesOf(app)
  t.equal(mailer.isEnabled, false)
  mailer.send(passwordChangedMail({ to, username: 'ada' }))
  t.same(mailer.counts(), { sent: 0, failed: 0, dropped: 0, queued: 0 })
  t.equal((await logIn(app)).statusCode, 404)
})
