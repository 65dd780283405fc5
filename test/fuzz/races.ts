import fc from 'fast-check'
import { changePasswordStep, deleteMeStep, logInAs, otherPassword, signUp } from './account-steps.js'
import { type Account, accountOf, activeTokens, isAdmin, type Model, personalTokensMax, type Token } from './model.js'
import { assignRoleStep, createRoleStep } from './role-steps.js'
import type { Run } from './run-steps.js'
import { type Asker, askerOf, pick, type Plan } from './step.js'
import { createTokenStep, deleteTokensStep } from './token-steps.js'

// Requests at once that random ones would hardly ever be, each in a situation made for it.

type Race = (run: Run) => Promise<unknown>

/** Logs an account in once more. */
async function logInAgain (run: Run, { id }: Account): Promise<Asker> {
  await run.one(() => logInAs(accountOf(run.model, id)))
  const newest = activeTokens(run.model, id)[0] as Token
  return askerOf(run.model, newest)
}

const someAccount = (model: Model, index: number) => pick(model.accounts.filter(({ isDeleted }) => !isDeleted), index)

const index = fc.nat(99)
const times = fc.integer({ min: 2, max: 4 })

/** Two password changes with two tokens: one succeeds, and keeps its token. */
const passwordChanges = fc.record({ index, next: index, other: index }).map(({ index, next, other }): Race => async (run) => {
  const account = someAccount(run.model, index)
  const askers = [await logInAgain(run, account), await logInAgain(run, account)]
  const { password } = accountOf(run.model, account.id)
  await run.atOnce(askers.map((asker, i) => () => changePasswordStep(asker, password, otherPassword(password, i === 0 ? next : other))))
})

/** Makes personal tokens until so many are missing at the limit. Answers how to make one more. */
async function fill (run: Run, account: Account, missing: number): Promise<Plan> {
  const asker = await logInAgain(run, account)
  const create: Plan = () => createTokenStep(asker, { description: 'one of many', password: account.password })
  const countPersonal = () => activeTokens(run.model, account.id).filter(({ kind }) => kind === 'personal').length
  while (countPersonal() < personalTokensMax - missing) await run.one(create)
  return create
}

/** Several tokens at the limit of how many there can be: exactly as many as fit. */
const tokensAtLimit = fc.record({ index, missing: fc.integer({ min: 0, max: 2 }), times }).map(({ index, missing, times }): Race => async (run) => {
  const create = await fill(run, someAccount(run.model, index), missing)
  await run.atOnce(Array<Plan>(times).fill(create))
})

/** More logins than there is room for: the least recently used are evicted. */
const loginsAtLimit = fc.record({ index, missing: fc.integer({ min: 0, max: 4 }), logins: fc.integer({ min: 1, max: 6 }) }).map(({ index, missing, logins }): Race => async (run) => {
  const account = someAccount(run.model, index)
  await fill(run, account, missing)
  for (let i = 0; i < logins; i++) await logInAgain(run, account)
})

/** One name for several: one gets it. */
const signUps = fc.record({ plan: signUp, times }).map(({ plan, times }): Race => (run) => run.atOnce(Array<Plan>(times).fill(plan)))

/** Tokens that are made while all are revoked: none remains. */
const revocation = fc.record({ index, times, isOther: fc.boolean() }).map(({ index, times, isOther }): Race => async (run) => {
  const account = someAccount(run.model, index)
  const thief = await logInAgain(run, account)
  const owner = isOther ? await logInAgain(run, account) : thief
  const create: Plan = () => createTokenStep(thief, { description: 'made at the same moment', password: account.password })
  await run.atOnce([...Array<Plan>(times - 1).fill(create), () => deleteTokensStep(owner)])
})

/** A password change while the account is deleted with the old password: one of them. */
const deletions = fc.record({ index, next: index, isOther: fc.boolean() }).map(({ index, next, isOther }): Race => async (run) => {
  const account = someAccount(run.model, index)
  const owner = await logInAgain(run, account)
  const thief = isOther ? await logInAgain(run, account) : owner
  const { password } = accountOf(run.model, account.id)
  await run.atOnce([() => changePasswordStep(owner, password, otherPassword(password, next)), () => deleteMeStep(thief, password)])
})

/** A role that is given and taken at once: both are done, in some order. */
const assignments = fc.record({ index, times, name: fc.constantFrom('admin', 'editor'), isGranted: fc.boolean() }).map(({ index, times, name, isGranted }): Race => async (run) => {
  const admin = run.model.accounts.find(isAdmin)
  const { username, id } = someAccount(run.model, index)
  if (admin === undefined || admin.id === id) return
  const asker = await logInAgain(run, admin)
  if (name === 'editor' && !('editor' in run.model.roles)) await run.one(() => createRoleStep(asker, { name: 'editor', description: 'May change articles.' }))
  if (isGranted) await run.one(() => assignRoleStep(asker, 'PUT', username, name))
  await run.atOnce(Array.from({ length: times }, (_, i): Plan => () => assignRoleStep(asker, i % 2 === 0 ? 'PUT' : 'DELETE', username, name)))
})

/** Two admins who take the role from each other: one stays, also where there is a third. */
const demotions = fc.record({ index, isThird: fc.boolean() }).map(({ index, isThird }): Race => async (run) => {
  const admin = run.model.accounts.find(isAdmin)
  const others = run.model.accounts.filter(({ isDeleted, id }) => !isDeleted && id !== admin?.id)
  if (admin === undefined || others.length === 0) return
  const [other, third] = [pick(others, index), pick(others, index + 1)]
  const [first, second] = [await logInAgain(run, admin), await logInAgain(run, other)]
  for (const { username } of isThird ? [other, third] : [other]) await run.one(() => assignRoleStep(first, 'PUT', username, 'admin'))
  await run.atOnce([
    () => assignRoleStep(first, 'DELETE', other.username, 'admin'),
    () => assignRoleStep(second, 'DELETE', admin.username, 'admin')
  ])
})

export const race = fc.oneof(
  { weight: 4, arbitrary: fc.oneof(passwordChanges, signUps, revocation, deletions, assignments, demotions) },
  // These take many requests.
  { weight: 1, arbitrary: fc.oneof(tokensAtLimit, loginsAtLimit) }
)
