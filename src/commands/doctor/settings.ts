import ipaddr from 'ipaddr.js'
import { effectiveUser, ownerProblem } from '../../lib/new-file.js'
import { isLoopback } from '../../plugins/mail/settings.js'
import { type Config, ConfigError } from '../../standalone/config.js'
import { type EnvFile, permissionWarnings, readEnvFile } from '../../standalone/env-file.js'
import { loadEnvironment } from '../../standalone/environment.js'
import type { Terminal } from '../terminal.js'
import { type Check, errorLine, failure, type Finding, ok, warning } from './check.js'
import { checkMailServer } from './mail-server.js'
import { checkNode, installedDriver } from './node.js'

/** The settings of a server, as far as they can be read. */
export interface Environment {
  /** The path of the `.env` file, and the file; none when there is none. */
  path: string
  file?: EnvFile
  /** All settings; undefined when one is invalid. */
  config?: Config
  hasSecretKey: boolean
  /** What stops the server and the commands. */
  problems: string[]
  /** What stops the server alone: its `.env` has nothing but settings, that of an app can have more. */
  serverProblems: string[]
}

/** What `work` returns, or the problems that it throws. */
function attempt<Result> (work: () => Result): { result?: Result, problems: string[] } {
  try {
    return { result: work(), problems: [] }
  } catch (error) {
    return { problems: error instanceof ConfigError ? error.problems : [errorLine(error)] }
  }
}

/** Reads the settings like a server that starts, but creates no key. */
export function readEnvironment ({ env, dotEnvPath: path = '.env' }: Terminal): Environment {
  const { result: file } = attempt(() => readEnvFile(path))
  const { result: loaded, problems } = attempt(() => loadEnvironment(env, path, { missingKey: 'ignore', isOwnFile: false }))
  const { problems: serverProblems } = attempt(() => loadEnvironment(env, path, { missingKey: 'ignore' }))
  return { path, file, config: loaded?.config, hasSecretKey: loaded?.hasSecretKey === true, problems, serverProblems }
}

function checkEnvFile ({ path, file }: Environment): Finding {
  if (file === undefined) return ok(`there is no ${path} to be read`)
  const owner = ownerProblem(file.stats, effectiveUser())
  if (owner !== undefined) return warning(`${path} ${owner}, who can change it`, `run chown on ${path}, or log in as its owner`)
  const [problem] = permissionWarnings(path, file)
  return problem === undefined ? ok(`no secret in ${path} can be read by others`) : warning(problem, 'if somebody may have read it, replace what it contains')
}

function checkSettings ({ problems, serverProblems }: Environment): Finding {
  if (problems.length > 0) return failure(problems.join('; '), 'docs/settings.md has all settings and their rules')
  return serverProblems.length === 0 ? ok('all settings are valid') : warning(`the server does not start with this file: ${serverProblems.join('; ')}`, 'where only an app with Latchkey in it reads the file, there is nothing to do')
}

/** Checks of the file and of all settings together. */
export const environmentChecks: Array<Check<Environment>> = [
  { name: 'settings', run: checkSettings },
  { name: '.env', run: checkEnvFile }
]

/** The shortest prefix that a network of proxies can have: a shorter one is more than any organization has. */
const shortestPrefix = { ipv4: 9, ipv6: 25 }

/** Whether a range is so large that strangers have addresses in it. A block that is private as a whole is nobody else's. */
function hasStrangers (range: string): boolean {
  if (!range.includes('/')) return false
  const [address, bits] = ipaddr.parseCIDR(range)
  const kind = address.kind()
  const family = kind === 'ipv4' ? ipaddr.IPv4 : ipaddr.IPv6
  const [first, last] = [family.networkAddressFromCIDR(range).range(), family.broadcastAddressFromCIDR(range).range()]
  return bits < shortestPrefix[kind] && (first !== last || first === 'unicast')
}

function checkProxy ({ host, trustProxy }: Config): Finding {
  const wide = trustProxy.filter(hasStrangers)
  if (wide.length > 0) return warning(`TRUST_PROXY has ${wide.join(' and ')}, which has addresses of strangers: they can choose the address that they are counted by`, 'name only the addresses of your proxies')
  if (trustProxy.length === 0 && !isLoopback(host)) return warning(`HOST is ${host} and TRUST_PROXY is not set`, 'if a proxy is in front of the server, set TRUST_PROXY to its address: otherwise all clients share one set of limits; without a proxy there is nothing to do')
  return ok(trustProxy.length === 0 ? 'no proxy is trusted' : `TRUST_PROXY is ${trustProxy.join(',')}`)
}

function checkPublicUrl ({ publicUrl }: Config): Finding {
  if (publicUrl === undefined) return ok('PUBLIC_URL is not set: there are codes, but no links')
  const { protocol, hostname } = new URL(publicUrl)
  const isSafe = protocol === 'https:' || isLoopback(hostname.replace(/^\[(.*)\]$/, '$1'))
  return isSafe ? ok(`PUBLIC_URL is ${publicUrl}`) : warning(`PUBLIC_URL is ${publicUrl}, without TLS: codes and passwords can be read on their way`, 'set up TLS in the proxy, and PUBLIC_URL to the https URL')
}

/** Checks of single settings, all of which are valid. */
export const settingsChecks: Array<Check<Environment & { config: Config }>> = [
  {
    name: 'secret-key',
    run: ({ hasSecretKey, path }) => hasSecretKey ? ok('SECRET_KEY is set') : warning('SECRET_KEY is not set', `the server creates one in ${path} when it starts; if it had one before, set that: all tokens and second factors depend on it`)
  },
  {
    name: 'key-rotation',
    run: ({ config }) => config.secretKeyPrevious === undefined ? ok('SECRET_KEY_PREVIOUS is not set') : warning('SECRET_KEY_PREVIOUS is still set', 'remove it when the last token of that key has expired: login tokens after TOKEN_TTL_SECONDS, personal access tokens after at most one year')
  },
  { name: 'public-url', run: ({ config }) => checkPublicUrl(config) },
  { name: 'proxy', run: ({ config }) => checkProxy(config) },
  { name: 'mail-server', run: ({ config }) => checkMailServer(config.smtpUrl) },
  {
    name: 'node',
    run: ({ config }) => checkNode(process.versions.node, config.databaseUrl.startsWith('sqlite:') ? installedDriver() : undefined, Date.now())
  }
]
