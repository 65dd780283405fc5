// nginx in front of our servers, with the configuration that the documentation shows.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { generate } from 'selfsigned'
import type { Test } from 'tap'
import { freePort } from './free-port.js'
import { isRoot, startServer, temporaryFolder, until } from './helper.js'
import { endWithUs } from './reaper.js'

/** Why these tests are skipped; false where nginx is installed. */
export const withoutNginx = spawnSync('nginx', ['-v']).status === 0 ? false : 'nginx is not installed (on Debian: apt-get install nginx-light)'

/** The configuration of nginx in a file: the whole file, or the block in a page of the documentation. */
function documented (file: string): string {
  const text = readFileSync(join(import.meta.dirname, '..', file), 'utf8')
  if (file.endsWith('.conf')) return text
  const [, block = ''] = /^```nginx\n(.*?)^```$/ms.exec(text) ?? []
  return block
}

/** An answer that came through nginx. */
export interface ProxiedAnswer { status: number, body: string, headers: Record<string, unknown> }

/** nginx, and how to send requests through it. */
export interface Nginx {
  /** Sends JSON from an address of this machine, and closes the connection. */
  ask: (method: string, path: string, options?: { payload?: object, headers?: Record<string, string>, from?: string }) => Promise<ProxiedAnswer>
  /** The status and the Location of its answer to a request without TLS. */
  askPlain: (path: string) => Promise<[number, string | null]>
  /** What it has logged about errors. */
  errors: () => string
}

/**
 * nginx with the configuration in a file, in a folder of its own, as the
 * current user. Only ports, names of files and the addresses of our servers are replaced.
 *
 * @param file `deploy/nginx.conf`, or a page of the documentation
 * @param servers the URLs of our servers, in the order in which the file names theirs
 */
export async function startNginx (t: Test, file: string, servers: string[]): Promise<Nginx> {
  const folder = temporaryFolder(t)
  const [port, plainPort] = [await freePort(), await freePort()]
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'login.example.com' }], { keySize: 2048 })
  writeFileSync(join(folder, 'cert.pem'), cert)
  writeFileSync(join(folder, 'key.pem'), key)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => {
    mkdirSync(join(folder, name))
    return `  ${name}_temp_path ${join(folder, name)};`
  })
  const hosts = servers.map((url) => new URL(url).host)
  const block = documented(file)
    .replace('listen 80;', `listen 127.0.0.1:${plainPort};`)
    .replace('listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`)
    .replace(/\/etc\/ssl\/\S+\.crt;/, `${join(folder, 'cert.pem')};`)
    .replace(/\/etc\/ssl\/\S+\.key;/, `${join(folder, 'key.pem')};`)
    .replace(/(?:127\.0\.0\.1|10\.0\.0\.\d+):3000/g, () => hosts.shift() ?? '127.0.0.1:1')
  const config = [
    ...isRoot ? ['user root;'] : [],
    'daemon off;', 'worker_processes 1;', `pid ${join(folder, 'pid')};`, `error_log ${join(folder, 'error.log')};`,
    'events { worker_connections 1024; }',
    'http {', '  access_log off;', ...temporary, block, '}'
  ].join('\n')
  writeFileSync(join(folder, 'nginx.conf'), config)
  const child = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')], { stdio: ['ignore', 'ignore', 'inherit'] })
  const hasEnded = endWithUs(child.pid)
  const exited = once(child, 'exit').then(hasEnded)
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
  })

  const agent = new Agent({ ca: cert, servername: 'login.example.com', keepAlive: false })
  async function ask (method: string, path: string, { payload, headers = {}, from = '127.0.0.1' }: Parameters<Nginx['ask']>[2] = {}): Promise<ProxiedAnswer> {
    const body = payload === undefined ? '' : JSON.stringify(payload)
    const type = payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }
    const sent = request({ host: '127.0.0.1', port, method, path, agent, localAddress: from, checkServerIdentity: () => undefined, headers: { host: 'login.example.com', ...type, ...headers } })
    sent.end(body)
    const [response] = await once(sent, 'response')
    let text = ''
    for await (const chunk of response.setEncoding('utf8')) text += chunk
    return { status: Number(response.statusCode), body: text, headers: response.headers }
  }
  await until(() => ask('GET', '/health/live').then(() => true, () => { if (child.exitCode !== null) throw new Error('nginx did not start') }))
  async function askPlain (path: string): Promise<[number, string | null]> {
    const { status, headers } = await fetch(`http://127.0.0.1:${plainPort}${path}`, { redirect: 'manual' })
    return [status, headers.get('location')]
  }
  return { ask, askPlain, errors: () => readFileSync(join(folder, 'error.log'), 'utf8') }
}

/** Servers on one database, behind a proxy of this machine and without limits. */
export async function startServers (t: Test, count: number, env: Record<string, string> = {}) {
  const folder = temporaryFolder(t)
  const start = (port = '0') => startServer(t, folder, { LOGIN_FAILURES_PER_ADDRESS_MINUTE: '0', LOGIN_FAILURES_PER_ADDRESS_HOUR: '0', LOGIN_FAILURES_PER_ACCOUNT: '0', TRUST_PROXY: '127.0.0.1', ...env, PORT: port })
  const servers = Array.from({ length: count }, () => start())
  const urls = await Promise.all(servers.map(({ listening }) => listening))
  return {
    urls,
    /** Ends the last server with SIGTERM, and starts it again on the same port. */
    async restartLast (): Promise<void> {
      const last = servers.pop()
      last?.child.kill('SIGTERM')
      await last?.exited
      const again = start(new URL(urls.at(-1) ?? '').port)
      servers.push(again)
      await again.listening
    }
  }
}

/** Sends as many POSTs at once as nginx keeps connections, and counts the answers by status. */
export async function burst ({ ask }: Nginx, tally: Record<number, number>): Promise<void> {
  await Promise.all(Array.from({ length: 32 }, async () => {
    const { status } = await ask('POST', '/api/v1/login', { payload: { username: 'nobody', password: 'a wrong password' } })
    tally[status] = (tally[status] ?? 0) + 1
  }))
}

/** Sends POSTs while `work` runs; counts the answers by status. */
export async function postDuring ({ ask }: Nginx, work: () => Promise<void>): Promise<Record<number, number>> {
  const tally: Record<number, number> = {}
  const end = new AbortController()
  const clients = [0, 1, 2, 3].map(async () => {
    while (!end.signal.aborted) {
      const { status } = await ask('POST', '/api/v1/login', { payload: { username: 'nobody', password: 'a wrong password' } })
      tally[status] = (tally[status] ?? 0) + 1
      await delay(10)
    }
  })
  await work()
  end.abort()
  await Promise.all(clients)
  return tally
}
