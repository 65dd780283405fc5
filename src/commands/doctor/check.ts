import { unwrapDatabaseError } from '../../lib/unwrap-error.js'
import { describeError } from '../../lib/system-error.js'

/** `skipped`: the check cannot run, because of what an earlier one has found. */
export type Status = 'ok' | 'warning' | 'failure' | 'skipped'

/** What a check has found: one line, and for a warning or a failure what to do. */
export interface Finding {
  status: Status
  message: string
  advice?: string
}

/** A finding and the name of its check. */
export interface Result extends Finding { name: string }

/** A check of something. It reads only; `signal` aborts when its time is over. */
export interface Check<Subject> {
  name: string
  run: (subject: Subject, signal: AbortSignal) => Finding | Promise<Finding>
}

/** How long a check may take, in milliseconds. */
const timeLimitMs = 5_000

export const ok = (message: string): Finding => ({ status: 'ok', message })
export const warning = (message: string, advice: string): Finding => ({ status: 'warning', message, advice })
export const failure = (message: string, advice: string): Finding => ({ status: 'failure', message, advice })
export const skipped = (message: string): Finding => ({ status: 'skipped', message })

/** The first line of an error, without a query: drizzle's messages contain one. */
export function errorLine (error: unknown): string {
  const [line = ''] = describeError(unwrapDatabaseError(error)).split('\n')
  return line
}

/** Rejects when a check has taken too long. */
async function timeOver (signal: AbortSignal, timeoutMs: number): Promise<never> {
  return await new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error(`no answer within ${timeoutMs / 1_000} s`)), { once: true })
  })
}

/** Runs a check, which may fail or take forever. */
export async function runCheck<Subject> ({ name, run }: Check<Subject>, subject: Subject, timeoutMs = timeLimitMs): Promise<Result> {
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(), timeoutMs)
  const work = async () => await run(subject, controller.signal)
  const finding = await Promise.race([work(), timeOver(controller.signal, timeoutMs)])
    .catch((error: unknown) => failure(`this cannot be checked: ${errorLine(error)}`, 'run latchkey doctor again; if it stays, look at the logs of the server and of the database'))
  clearTimeout(timer)
  return { name, ...finding }
}

/** Runs checks one after the other. */
export async function * runChecks<Subject> (checks: Array<Check<Subject>>, subject: Subject): AsyncGenerator<Result> {
  for (const check of checks) yield await runCheck(check, subject)
}

/** Says of checks why they cannot run. */
export function skipChecks (checks: Array<{ name: string }>, why: string): Result[] {
  return checks.map(({ name }) => ({ name, ...skipped(why) }))
}

/** The worst status of all results. */
export function worstOf (results: Array<Pick<Result, 'status'>>): Status {
  return (['failure', 'warning'] as const).find((status) => results.some((result) => result.status === status)) ?? 'ok'
}
