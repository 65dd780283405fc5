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
