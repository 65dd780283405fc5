import { ValidationFailed } from '../../errors.js'
import type { User } from '../users/user.js'
import { personalPasswordProblem } from './policy.js'

/**
 * Rejects a password that is its owner's username or email.
 *
 * @param field the name of the field that carries it
 * @throws {ValidationFailed}
 */
export function rejectPersonalPassword (field: string, password: string, owner: Pick<User, 'username' | 'email'>): void {
  const problem = personalPasswordProblem(password, owner)
  if (problem !== undefined) throw new ValidationFailed([{ field, message: `${field} ${problem}` }])
}

/**
 * Rejects a new username or email that is the password of its owner.
 *
 * @throws {ValidationFailed}
 */
export function rejectNameAsPassword (field: 'username' | 'email', name: string, password: string): void {
  const problem = personalPasswordProblem(password, field === 'username' ? { username: name, email: null } : { username: '', email: name })
  if (problem !== undefined) throw new ValidationFailed([{ field, message: `${field} must not be the password` }])
}
