import { type FieldProblem, ValidationFailed } from '../errors.js'

/**
 * Rejects invalid arguments.
 *
 * @param problems what is wrong with each field, as the end of a sentence that starts with its name; undefined when nothing is
 * @throws {ValidationFailed} with every problem
 */
export function validate (problems: Record<string, string | undefined>): void {
  const found = Object.entries(problems).flatMap(([field, problem]): FieldProblem[] => problem === undefined ? [] : [{ field, message: `${field} ${problem}` }])
  if (found.length > 0) throw new ValidationFailed(found)
}

/** What is wrong with a number of seconds; `undefined` when nothing is. */
export function secondsProblem (seconds: number, min: number, max: number): string | undefined {
  if (!Number.isInteger(seconds) || seconds < min || seconds > max) return `must be an integer from ${min} to ${max}`
}
