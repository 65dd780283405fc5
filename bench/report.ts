import type { Environment } from './environment.js'
import { type PartFigures, wholeServer } from './leave-one-out.js'
import type { Figures } from './load.js'
import { difference, over } from './statistics.js'
import { checksPerSecond } from './overload.js'
import type { Results, Target } from './targets.js'

const none = '–'
const fixed = (digits: number, unit = '') => (value: number | undefined) =>
  value === undefined || Number.isNaN(value) ? none : value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits }) + unit
const ratio = fixed(2)
const whole = fixed(0)
const tenths = fixed(1)

/** Formats an aligned Markdown table: a text column, then columns of figures. */
function table (head: string[], rows: string[][]): string {
  const widths = head.map((title, column) => Math.max(...[head, ...rows].map((row) => String(row[column]).length), 3))
  const line = (cells: string[]) => `| ${cells.map((cell, column) => column === 0 ? cell.padEnd(Number(widths[column])) : cell.padStart(Number(widths[column]))).join(' | ')} |`
  const rule = `| ${widths.map((width, column) => column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`).join(' | ')} |`
  return [line(head), rule, ...rows.map(line)].join('\n')
}

const plural = (count: number, noun: string) => `${whole(count)} ${noun}${count === 1 ? '' : 's'}`

const verdict = (isMet: boolean | undefined) => isMet === undefined ? 'not measured' : isMet ? 'met' : 'not met'

function targetTable (targets: Target[]): string {
  return table(['against its target', 'measured', 'target', ''], targets.map(({ what, value, unit, atLeast, atMost, isMet }) => {
    const show = unit === 'ms' ? fixed(1, ' ms') : ratio
    return [what, show(value), atLeast === undefined ? `≤ ${atMost} ${unit}`.trim() : `≥ ${atLeast} ${unit}`.trim(), verdict(isMet)]
  }))
}

function throughputTable ({ throughput }: Results): string {
  const rows = throughput.map(({ server, route, connections, tokens, ratio: value, cpuRatio, requestsPerSecond, p99Ms, cpuMicroseconds }) => {
    const busy = cpuMicroseconds === undefined ? undefined : cpuMicroseconds * requestsPerSecond / 10_000
    const what = `${server}: ${route}, ${plural(connections, 'connection')}${tokens === 0 ? '' : `, ${plural(tokens, 'token')}`}`
    return [what, tenths(cpuMicroseconds), ratio(cpuRatio), whole(requestsPerSecond), ratio(value), fixed(2)(p99Ms), fixed(0, ' %')(busy)]
  })
  return table(['throughput', 'CPU µs', 'over Fastify', 'requests/s', 'over Fastify', 'p99 ms', 'busy'], rows)
}

function loginTable ({ logins }: Results): string {
  const rows = logins.map(({ name, ratio: value, hashRatio, requestsPerSecond, p99Ms, cpuMicroseconds }) =>
    [name, tenths(requestsPerSecond), ratio(value), ratio(hashRatio), whole(p99Ms), whole(cpuMicroseconds)])
  return table(['logins', 'logins/s', 'over Fastify', 'over the hash', 'p99 ms', 'CPU µs'], rows)
}

function overloadTable ({ overload }: Results): string {
  const rows = overload.map(({ database, ratio: value, requestsPerSecond, overloadP99Ms, calmP99Ms, loginsOfferedPerSecond, accepted, rejected, slowestAcceptedMs }) =>
    [database, ratio(value), whole(requestsPerSecond), fixed(2)(overloadP99Ms), fixed(2)(calmP99Ms), whole(loginsOfferedPerSecond), whole(accepted), whole(rejected), whole(slowestAcceptedMs)])
  return table([`/need_login, ${whole(checksPerSecond)} per second`, 'overload over calm', 'requests/s', 'p99 ms', 'calm p99 ms', 'logins/s offered', 'accepted', '503', 'slowest ms'], rows)
}

function scalingTable ({ scaling }: Results): string {
  const smallest = plural(Number(scaling[0]?.users), 'user')
  const rows = [
    ...scaling.map(({ users, guarded, guardedRatio }) => [`/need_login, ${plural(users, 'user')}`, ratio(guardedRatio), whole(guarded.requestsPerSecond), fixed(2)(guarded.p99Ms), tenths(guarded.cpuMicroseconds)]),
    ...scaling.map(({ users, logins, loginRatio }) => [`POST /api/v1/login, ${plural(users, 'user')}`, ratio(loginRatio), tenths(logins.requestsPerSecond), whole(logins.p99Ms), whole(logins.cpuMicroseconds)])
  ]
  return table(['scaling, SQLite', `over ${smallest}`, 'requests/s', 'p99 ms', 'CPU µs'], rows)
}

function startTable ({ starts }: Results): string {
  const [bare] = starts
  const rows = starts.map(({ server, startMs, idleMebibytes, loadedMebibytes }) => [server,
    ratio(over(startMs, bare?.startMs)), ratio(over(idleMebibytes, bare?.idleMebibytes)), ratio(over(loadedMebibytes, bare?.loadedMebibytes)),
    whole(startMs), whole(idleMebibytes), whole(loadedMebibytes)])
  return table(['start and memory', 'start', 'idle', 'loaded', 'start ms', 'idle MiB', 'loaded MiB'], rows)
}

/** Formats the machine and the date of a run. */
export function heading ({ date, node, platform, processors, model, generator, isSmoke }: Environment): string {
  return `Latchkey benchmark · ${date} · Node ${node} · ${platform} · ${plural(processors, 'processor')}: ${model} · load by ${generator}${isSmoke ? '\n\nA smoke run is too short: these figures mean nothing.' : ''}`
}

/** Formats the price of each part. */
export function partReport (parts: PartFigures[]): string {
  const [bare] = parts
  const all = parts.find(({ name }) => name === wholeServer)
  const columns = (figures: Figures, ofWhole: Figures | undefined, ofBare: Figures | undefined) => [
    tenths(figures.cpuMicroseconds),
    tenths(difference(ofWhole?.cpuMicroseconds, figures.cpuMicroseconds)),
    whole(figures.requestsPerSecond),
    ratio(over(figures.requestsPerSecond, ofBare?.requestsPerSecond))
  ]
  const rows = parts.map(({ name, open, guarded }) => [name, ...columns(open, all?.open, bare?.open), ...columns(guarded, all?.guarded, bare?.guarded)])
  return `${table(['one part left out, 64 connections', '/: CPU µs', 'saves', 'requests/s', 'over Fastify', '/need_login: CPU µs', 'saves', 'requests/s', 'over Fastify'], rows)}

"saves" is the CPU time per request of the whole server minus that of the row: the price of the
part. The second row of the whole server shows the noise: smaller prices mean nothing.`
}

/** Formats all figures as text, the targets first. */
export function report (targets: Target[], results: Results): string {
  return `${targetTable(targets)}

${throughputTable(results)}

"over Fastify" is the ratio to an empty Fastify route with the same response and as many
connections: of the CPU time, then of the requests per second. CPU is the time of the server
process per request, without PostgreSQL; it does not count the generator, which shares the
machine. "busy" is the server's share of one processor: with 64 connections, much less than 100 %
means that the server waited for the generator or for its database.

${loginTable(results)}

The password hash limits the logins per second, not the server: a slow hash protects the passwords.
"over Fastify" is against bare Fastify that verifies the same hash.

${overloadTable(results)}

${scalingTable(results)}

${startTable(results)}`
}
