import { deepEqual, ok } from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { accountNamed, accountOf, type AuditEvent, type Model } from './model.js'
import { accountOfAsker, anyone, ask, type Asker, guard, mostlyAdmin, refusedBy, type Step } from './step.js'
import type { Run } from './run-steps.js'

/** An event as it is listed, as far as the model knows of it. */
interface ListedEvent { id: number, time: string, kind: string, outcome: string, user_id: number | null, username: string | null, actor_id: number | null }
interface Page { events: ListedEvent[], next_cursor: string | null }

type Filter = (event: AuditEvent) => boolean

function pageStep (asker: Asker, path: string, query: Record<string, string>, onlyAdmins: boolean): Step {
  return {
    request: { method: 'GET', url: `${path}?${String(new URLSearchParams(query))}`, headers: asker.headers },
    asker: asker.name,
    judge: (model) => refusedBy(guard(model, asker, { onlyAdmins })) ?? { answers: ['200'] }
  }
}

/** Reads every page; undefined when the request is refused. */
async function readPages (run: Run, asker: Asker, path: string, query: Record<string, string>, onlyAdmins: boolean): Promise<ListedEvent[] | undefined> {
  const listed: ListedEvent[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page = await run.one(() => pageStep(asker, path, cursor === '' || cursor === null ? query : { ...query, cursor }, onlyAdmins)) as Page
    if (page.events === undefined) return undefined
    ok(page.events.length <= Number(query.limit), 'a page has more events than were asked for')
    ok(cursor === '' || page.events.length > 0, 'there is a cursor to a page without events')
    listed.push(...page.events)
    cursor = page.next_cursor
  }
  return listed
}

const textOf = ({ time, kind, outcome, userId, actorId }: Omit<AuditEvent, 'isOptional'>) => `${new Date(time).toISOString()} ${kind} ${outcome} of ${userId} by ${actorId}`

/** Holds a list of events to the model: each exactly once, newest first. */
function checkEvents (model: Model, listed: ListedEvent[], filter: Filter): void {
  const ids = listed.map(({ id }) => id)
  deepEqual(ids, [...new Set(ids)].sort((a, b) => b - a), 'events are not listed once, newest first')
  for (const { user_id: id, username } of listed) {
    const account = id === null ? undefined : accountOf(model, id)
    deepEqual(username, account?.isDeleted === false ? account.username : null)
  }
  const isCertain = (time: number) => !model.concurrentTimes.includes(time)
  const unexpected = listed.filter(({ time }) => isCertain(Date.parse(time)))
    .map(({ time, kind, outcome, user_id: userId, actor_id: actorId }) => textOf({ time: Date.parse(time), kind, outcome, userId, actorId }))
  const missing = model.events.filter((event) => filter(event) && isCertain(event.time)).filter((event) => {
    const index = unexpected.indexOf(textOf(event))
    if (index >= 0) unexpected.splice(index, 1)
    return index < 0 && !event.isOptional
  })
  deepEqual({ missing: missing.map(textOf), unexpected }, { missing: [], unexpected: [] })
}

/** Events are written behind the requests, which no reader waits for on a slow machine. */
const tries = 3
const delayMs = 500

/** Reads events, until those of the model are there. */
async function readAndCheck (run: Run, asker: Asker, path: string, query: Record<string, string | undefined>, onlyAdmins: boolean, filter: (model: Model) => Filter): Promise<void> {
  const given = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined)
  for (let i = 1; ; i++) {
    const listed = await readPages(run, asker, path, Object.fromEntries(given), onlyAdmins)
    if (listed === undefined) return
    try {
      return checkEvents(run.model, listed, filter(run.model))
    } catch (error) {
      if (i === tries) throw error
    }
    await delay(delayMs)
  }
}

const limit = fc.constantFrom('2', '7', '50', '100')
const kind = fc.constantFrom(undefined, undefined, 'login', 'role_change', 'revocation')

/** Reads one's own events. */
export const listMyEvents = fc.record({ credential: anyone, limit, kind }).map(({ credential, ...query }) => async (run: Run) => {
  const asker = ask(run.model, credential)
  await readAndCheck(run, asker, '/api/v1/me/events', query, false, (model) => {
    const { id } = accountOfAsker(model, asker)
    return (event) => event.userId === id && event.kind === (query.kind ?? event.kind)
  })
})

/** Reads everybody's events, or those of one user. */
export const listEvents = fc.record({ credential: mostlyAdmin, limit, kind, user: fc.constantFrom(undefined, 'BOB', 'carol', 'nobody'), index: fc.option(fc.nat(9), { nil: undefined }) })
  .map(({ credential, limit, kind, user, index }) => async (run: Run) => {
    const id = index === undefined ? undefined : run.model.accounts[index]?.id
    const query = { limit, kind, user, user_id: id === undefined ? undefined : String(id) }
    await readAndCheck(run, ask(run.model, credential), '/api/v1/events', query, true, (model) => {
      const named = user === undefined ? undefined : accountNamed(model, user)?.id ?? NaN
      return (event) => event.kind === (kind ?? event.kind) && event.userId === (id ?? event.userId) && event.userId === (named ?? event.userId)
    })
  })
