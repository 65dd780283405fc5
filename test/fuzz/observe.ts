import { isActive, isAdmin, type Model } from './model.js'
import { getMeStep, getUserStep, listRolesStep } from './role-steps.js'
import { askerOf, type Step } from './step.js'
import { listTokensStep } from './token-steps.js'

/** An account can have a hundred tokens: the newest and the oldest tell enough. */
const eachEnd = 10

/**
 * Looks at what the model says, through its tokens.
 *
 * @param given tokens that the model may not have yet
 */
export function observe (model: Model, given: string[] = []): Step[] {
  const known = model.tokens.filter((token, i, tokens) => i < eachEnd || i >= tokens.length - eachEnd).map((token) => askerOf(model, token))
  const strangers = given.map((value) => ({ name: 'a new token', headers: { authorization: value }, value }))
  // One token of each account tells of the others.
  const newestOf = ({ id }: { id: number }) => model.tokens.findLast((token) => token.userId === id && isActive(model, token)) ?? []
  const newest = model.accounts.flatMap(newestOf).map((token) => askerOf(model, token))
  // An admin tells of an account without a token.
  const [admin] = model.accounts.filter(isAdmin).flatMap(newestOf).map((token) => askerOf(model, token))
  const silent = admin === undefined ? [] : model.accounts.filter((account) => !account.isDeleted && [newestOf(account)].flat().length === 0).map((account) => getUserStep(admin, account))
  return [...[...known, ...strangers].map(getMeStep), ...newest.map(listTokensStep), ...newest.map(listRolesStep), ...silent]
}
