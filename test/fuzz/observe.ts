import type { Model } from './model.js'
import { getMeStep, listRolesStep } from './role-steps.js'
import { askerOf, type Step } from './step.js'
import { listTokensStep } from './token-steps.js'

/**
 * Looks at everything that the model says, through every token.
 *
 * @param given tokens that the model may not have yet
 */
export function observe (model: Model, given: string[] = []): Step[] {
  const known = model.tokens.map((token) => askerOf(model, token))
  const askers = [...known, ...given.map((value) => ({ name: 'a new token', headers: { authorization: value }, value }))]
  return [
    ...askers.map(getMeStep),
    ...askers.slice(-10).map(listTokensStep),
    ...askers.slice(0, 10).map(listRolesStep)
  ]
}
