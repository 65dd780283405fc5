import type { Model } from './model.js'
import { getMeStep, listRolesStep } from './role-steps.js'
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
  const askers = [...known, ...given.map((value) => ({ name: 'a new token', headers: { authorization: value }, value }))]
  return askers.flatMap((asker) => [getMeStep(asker), listTokensStep(asker), listRolesStep(asker)])
}
