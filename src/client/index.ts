import createOpenApiClient, { type Client } from 'openapi-fetch'
import type { components, operations, paths } from './contract.js'
import { tokenRenewal } from './renewal.js'

export type { components, operations, paths } from './contract.js'

/** The options of a client. */
export interface ClientOptions {
  /** The URL of the server, such as `https://login.example.com`. */
  baseUrl: string
  /** The first token to send, such as a personal access token. */
  token?: string
  /** The prefix of the routes, when an app embeds Latchkey; `/api/v1` by default. */
  prefix?: string
  /** Sends the requests; the global `fetch` by default. */
  fetch?: (request: Request) => Promise<Response>
  /** Renews the token of a login before a request when more than half of its lifetime is over; false by default. */
  renew?: boolean
  /** Called with the new token after a login and after a renewal, and with undefined after a logout: to store it. */
  onToken?: (token: string | undefined) => void
}

/** The status codes of success. */
type Success = 200 | 201 | 204

type FailureOf<Operation> = Operation extends { responses: infer Responses }
  ? { [Status in Exclude<keyof Responses, Success>]: Responses[Status] extends { content: { 'application/json': infer Body } } ? Body : never }[Exclude<keyof Responses, Success>]
  : never

/** Any error of the contract; `code` tells them apart. The `error` of a call has the type of those that its route can answer. */
export type LatchkeyError = { [Id in keyof operations]: FailureOf<operations[Id]> }[keyof operations]

/** Every error code of the contract. */
export type ErrorCode = LatchkeyError['code']

/** The schemas of the contract by name: `User`, `Token` and the others. */
export type Schemas = components['schemas']

/** A typed client for the whole contract: `GET`, `POST`, `PUT` and `DELETE` for every path. It sends the token of its login. */
export interface LatchkeyClient extends Client<paths> {
  /** The token that the client sends; undefined when logged out. */
  token: string | undefined
  /** Logs in. The client sends the new token from then on. */
  login: (credentials: Schemas['LoginRequest']) => ReturnType<typeof logIn>
  /** Logs out: the server revokes the token. The client forgets it even when the request fails. */
  logout: () => ReturnType<typeof logOut>
}

const ownPrefix = '/api/v1'

/** Calls before which no token is renewed. */
const withoutRenewal = ['/api/v1/login', '/api/v1/logout', '/api/v1/renew']

const logIn = (client: Client<paths>, body: Schemas['LoginRequest']) => client.POST('/api/v1/login', { body })
const logOut = (client: Client<paths>) => client.POST('/api/v1/logout')

/** Whether a value is an error body from Latchkey, and not, for example, from a proxy. */
export function isLatchkeyError (error: unknown): error is LatchkeyError {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' && 'statusCode' in error
}

/**
 * Creates a client. Calls resolve to `{ data, error, response }`; they reject only when there is
 * no response.
 *
 * @see https://openapi-ts.dev/openapi-fetch/
 * @example
 * const latchkey = createClient({ baseUrl: 'http://localhost:3000' })
 * const { error } = await latchkey.login({ username: 'bob', password: 'correct horse battery staple' })
 * if (error?.code === 'PASSWORD_INCORRECT') …
 * const { data } = await latchkey.GET('/api/v1/me')
 */
export function createClient ({ baseUrl, token, prefix = ownPrefix, fetch, renew = false, onToken = () => {} }: ClientOptions): LatchkeyClient {
  const base = baseUrl.replace(/\/+$/, '')
  const trimmed = prefix.replace(/^\/+|\/+$/g, '')
  const place = base + (trimmed === '' ? '' : `/${trimmed}`)

  // The URL must change before the request is created: copying a request turns its body into a
  // stream, which browsers refuse to send.
  class Placed extends Request {
    constructor (url: string | URL | Request, init?: RequestInit) {
      super(typeof url === 'string' && url.startsWith(`${base}${ownPrefix}/`) ? place + url.slice(base.length + ownPrefix.length) : url, init)
    }
  }

  const client = createOpenApiClient<paths>({ baseUrl: base, Request: Placed, ...(fetch === undefined ? {} : { fetch }) })
  function setToken (token: string | undefined): void {
    latchkey.token = token
    onToken(token)
  }
  const { renewIfDue, inFlight } = tokenRenewal({
    current: () => latchkey.token,
    async renew (token) {
      const { data, response } = await client.POST('/api/v1/renew', { headers: { authorization: `Bearer ${token}` } })
      return { token: data?.token, status: response.status }
    },
    onRenewed: setToken
  })
  const latchkey: LatchkeyClient = Object.assign(client, {
    token,
    async login (credentials: Schemas['LoginRequest']) {
      const answer = await logIn(client, credentials)
      if (answer.data !== undefined) setToken(answer.data.token)
      return answer
    },
    async logout () {
      // Otherwise a token that nobody has would stay valid.
      if (inFlight() !== undefined) await inFlight()
      const { token } = latchkey
      try {
        return await logOut(client)
      } finally {
        if (latchkey.token === token) setToken(undefined)
      }
    }
  })
  client.use({
    async onRequest ({ request, schemaPath, options }) {
      // A call to another server, or with its own Authorization header, must not get our token.
      const isOurs = options.baseUrl === base && !request.headers.has('authorization')
      if (isOurs && renew && !withoutRenewal.includes(schemaPath)) await renewIfDue()
      if (isOurs && latchkey.token !== undefined) request.headers.set('authorization', `Bearer ${latchkey.token}`)
      return request
    },
    async onResponse ({ response, options }) {
      // openapi-fetch parses every success as JSON; some routes, and proxies, answer with text.
      const type = response.headers.get('content-type')
      if (options.parseAs !== 'json' || !response.ok || type === null || /\bjson\b/i.test(type)) return undefined
      const { status, statusText, url } = response
      const headers = new Headers(response.headers)
      headers.delete('content-length')
      const asJson = new Response(JSON.stringify(await response.text()), { status, statusText, headers })
      return Object.defineProperty(asJson, 'url', { value: url })
    }
  })
  return latchkey
}
