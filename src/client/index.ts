import createOpenApiClient, { type Client } from 'openapi-fetch'
import type { components, operations, paths } from './contract.js'

export type { components, operations, paths } from './contract.js'

/** What a client is told. */
export interface ClientOptions {
  /** Where Latchkey is, such as `https://login.example.com`. */
  baseUrl: string
  /** A token to begin with, such as a personal access token. */
  token?: string
  /** Where the routes are, when an app embeds Latchkey at another prefix than `/api/v1`. */
  prefix?: string
  /** What sends the requests: the global `fetch` by default. */
  fetch?: (request: Request) => Promise<Response>
}

/** The statuses of success. */
type Success = 200 | 201 | 204

type FailureOf<Operation> = Operation extends { responses: infer Responses }
  ? { [Status in Exclude<keyof Responses, Success>]: Responses[Status] extends { content: { 'application/json': infer Body } } ? Body : never }[Exclude<keyof Responses, Success>]
  : never

/** Any failure that the contract knows: its `code` says which. Each call has those that it can meet as the type of its `error`. */
export type LatchkeyError = { [Id in keyof operations]: FailureOf<operations[Id]> }[keyof operations]

/** Every code that the contract knows. */
export type ErrorCode = LatchkeyError['code']

/** An account, a token and the others, by their names in the contract. */
export type Schemas = components['schemas']

/** A client that knows the whole contract: `GET`, `POST`, `PUT` and `DELETE` for every path, typed, and with the token of its login. */
export interface LatchkeyClient extends Client<paths> {
  /** The token that is sent; undefined when nobody is logged in. */
  token: string | undefined
  /** Logs in, and sends the token from then on. */
  login: (credentials: Schemas['LoginRequest']) => ReturnType<typeof logIn>
  /** Logs out: the token is taken back, and sent no more, whatever the answer. */
  logout: () => ReturnType<typeof logOut>
}

const ownPrefix = '/api/v1'

const logIn = (client: Client<paths>, body: Schemas['LoginRequest']) => client.POST('/api/v1/login', { body })
const logOut = (client: Client<paths>) => client.POST('/api/v1/logout')

/** Whether something is a failure as Latchkey reports them, and not, say, a page of a proxy. */
export function isLatchkeyError (error: unknown): error is LatchkeyError {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' && 'statusCode' in error
}

/**
 * Makes a client. Calls answer `{ data, error, response }`; they reject only when there is
 * no answer at all.
 *
 * @see https://openapi-ts.dev/openapi-fetch/
 * @example
 * const latchkey = createClient({ baseUrl: 'http://localhost:3000' })
 * const { error } = await latchkey.login({ username: 'bob', password: 'correct horse battery staple' })
 * if (error?.code === 'PASSWORD_INCORRECT') …
 * const { data } = await latchkey.GET('/api/v1/me')
 */
export function createClient ({ baseUrl, token, prefix = ownPrefix, fetch }: ClientOptions): LatchkeyClient {
  const base = baseUrl.replace(/\/+$/, '')
  const trimmed = prefix.replace(/^\/+|\/+$/g, '')
  const place = base + (trimmed === '' ? '' : `/${trimmed}`)

  // Before the request is made: one that is made of another has a stream for its body, which browsers refuse to send.
  class Placed extends Request {
    constructor (url: string | URL | Request, init?: RequestInit) {
      super(typeof url === 'string' && url.startsWith(`${base}${ownPrefix}/`) ? place + url.slice(base.length + ownPrefix.length) : url, init)
    }
  }

  const client = createOpenApiClient<paths>({ baseUrl: base, Request: Placed, ...(fetch === undefined ? {} : { fetch }) })
  const latchkey: LatchkeyClient = Object.assign(client, {
    token,
    async login (credentials: Schemas['LoginRequest']) {
      const answer = await logIn(client, credentials)
      if (answer.data !== undefined) latchkey.token = answer.data.token
      return answer
    },
    async logout () {
      const { token } = latchkey
      try {
        return await logOut(client)
      } finally {
        if (latchkey.token === token) latchkey.token = undefined
      }
    }
  })
  client.use({
    onRequest ({ request, options }) {
      // A call that goes elsewhere, or as somebody else, has a token of its own or none.
      const isOurs = options.baseUrl === base && !request.headers.has('authorization')
      if (isOurs && latchkey.token !== undefined) request.headers.set('authorization', `Bearer ${latchkey.token}`)
      return request
    }
  })
  return latchkey
}
