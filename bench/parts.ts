/**
 * A part of the server that can be left out, to see its price. Without `find`, it is the plugin
 * that its file exports: a plugin that does nothing takes its place. With `find`, it is this text
 * in its file: `replace` takes its place.
 */
export interface Part {
  name: string
  /** Relative to `src`. */
  file: string
  /** A text that the file has exactly once. */
  find?: string
  replace?: string
}

/**
 * The parts that every request passes. When you add a hook, add it here; when you rename its file
 * or change its line, change it here: `npm run bench -- --parts` fails until you do.
 */
export const parts: Part[] = [
  { name: 'security headers', file: 'standalone/security-headers.ts' },
  { name: 'warning about proxy headers', file: 'standalone/untrusted-proxy.ts' },
  { name: 'check of the Host header', file: 'standalone/host-header.ts' },
  { name: 'close of surplus connections', file: 'app.ts', find: 'ServerResponse: connections.ServerResponse, ', replace: '' },
  { name: '404 and 405', file: 'standalone/not-found.ts' },
  { name: 'request ids', file: 'app.ts', find: 'genReqId: requestIds(),', replace: '' },
  { name: 'loggers of requests', file: 'app.ts', find: 'new RequestLogger(log, bindings, options)', replace: 'log' },
  { name: 'compilers of the schemas', file: 'app.ts', find: '{ compilersFactory: lazyCompilers }', replace: '{ compilersFactory: { buildValidator: () => () => () => true, buildSerializer: () => () => JSON.stringify } }' },
  { name: 'second decision after the body', file: 'plugins/authenticate/guarded-routes.ts', find: "app.addHook('preValidation', recheckGuards)", replace: '' },
  { name: 'check for two Authorization headers', file: 'plugins/authenticate/index.ts', find: 'if (!hasOneAuthorization(raw.rawHeaders)) throw new TokenInvalid()', replace: '' },
  { name: 'times of last use', file: 'plugins/authenticate/index.ts', find: 'app.tokens.touch(token.tokenId, lastUsedAt)', replace: '' },
  { name: 'read of the user and the token', file: 'plugins/authenticate/index.ts', find: 'await find(token)', replace: "{ tokenUserId: token.userId, username: 'user1', email: null, emailVerified: 0, createdAt: new Date(), lastUsedAt: new Date(), renewedAt: null }" }
]
