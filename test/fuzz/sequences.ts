import fc from 'fast-check'
import type { Test } from 'tap'
import { asUser } from '../../src/testing.js'
import { claimsOf } from '../helper.js'
import { changePassword, deleteMe, logIn, logInAs, passwords, signUp } from './account-steps.js'
import { listEvents, listMyEvents } from './event-steps.js'
import type { Fixture } from './fixture.js'
import { addToken, loginLifetimeSeconds } from './model.js'
import { race } from './races.js'
import { assignRole, createRole, deleteRole, getMe, getMeStep, greet, listRoles } from './role-steps.js'
import { tryFor } from './run.js'
import { type Run, startRun, textOfTranscript } from './run-steps.js'
import { askerOf, type Plan } from './step.js'
import { createToken, deleteToken, deleteTokens, listTokens, logOut, renew } from './token-steps.js'

type Move = (run: Run) => Promise<unknown>

const change: fc.Arbitrary<Plan> = fc.oneof(signUp, logIn, changePassword, deleteMe, logOut, renew, renew, createToken, createToken, deleteTokens, deleteToken, createRole, deleteRole, assignRole, assignRole)
const read: fc.Arbitrary<Plan> = fc.oneof(getMe, listTokens, listRoles, greet)
const one = (plan: Plan): Move => (run) => run.one(plan)

/** Lets time pass: to just before, at and after what ends. */
const wait = fc.constantFrom(1, 28, 60, 299, 898, 900, 3_600, 100_000, 172_798, 172_800, 2_592_000, 31_536_000).map((seconds): Move => async (run) => {
  run.wait(seconds)
  run.transcript.push(`${seconds} seconds later`)
})

const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 60, arbitrary: change.map(one) },
  { weight: 20, arbitrary: read.map(one) },
  { weight: 8, arbitrary: wait },
  { weight: 3, arbitrary: listMyEvents },
  { weight: 3, arbitrary: listEvents },
  { weight: 8, arbitrary: fc.array(change, { minLength: 2, maxLength: 2 }).map((plans): Move => (run) => run.atOnce(plans)) },
  // The same request several times.
  { weight: 4, arbitrary: fc.record({ plan: change, times: fc.integer({ min: 2, max: 4 }) }).map(({ plan, times }): Move => (run) => run.atOnce(Array<Plan>(times).fill(plan))) },
  { weight: 6, arbitrary: race }
)

/** An admin, bob and carol, each logged in. */
async function start (fixture: Fixture): Promise<Run> {
  await fixture.reset()
  const run = startRun(fixture)
  for (const [username, email, roles] of [['root', null, ['admin']], ['bob', null, []], ['carol', 'carol@example.com', []]] as const) {
    const password = passwords[0] ?? ''
    const { user, token } = await asUser(fixture.app, username, { email: email ?? undefined, roles: [...roles], password })
    run.model.accounts.push({ id: user.id, username, email, password, createdAt: run.model.now, roles: [...roles], isDeleted: false })
    addToken(run.model, { value: token, id: claimsOf(token).jti, userId: user.id, kind: 'login', description: 'a test', expiresAt: run.model.now + loginLifetimeSeconds * 1_000 })
    run.wait(1)
  }
  return run
}

/** At the end every token is tried, and every password. */
async function checkEverything (run: Run): Promise<void> {
  run.transcript.push('at the end:')
  for (const token of run.model.tokens) await run.one((model) => getMeStep(askerOf(model, token)))
  for (const account of run.model.accounts) if (!account.isDeleted) await run.one(() => logInAs(account))
}

/** Sends sequences of requests to a server and holds every answer to the model. */
export async function trySequences (t: Test, fixture: Fixture, seconds: number): Promise<void> {
  await tryFor(t, seconds, fixture.reset, fc.array(move, { maxLength: 40, size: 'max' }), async (moves) => {
    const run = await start(fixture)
    try {
      for (const move of moves) await move(run)
      await checkEverything(run)
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n\nThe requests, after root (admin), bob and carol have logged in:\n${textOfTranscript(run.transcript)}`, { cause: error })
    }
  })
}
