import { addressProblem } from '../../lib/client-network.js'
import { descriptionProblem } from '../../lib/single-line.js'
import { newPasswordProblem, passwordProblem, type PasswordPolicy } from '../passwords/policy.js'
import { roleNameProblem } from '../roles/role-name.js'
import { emailProblem } from '../users/email.js'
import { usernameProblem } from '../users/username.js'

/**
 * Our string formats by name. Each returns the problem with a value, as the end of a sentence
 * that starts with the field's name; undefined when the value is valid.
 */
export type StringFormats = Record<string, (value: string) => string | undefined>

/** Creates the string formats that schemas use as `format`. */
export function stringFormats (passwordPolicy: PasswordPolicy): StringFormats {
  return {
    username: usernameProblem,
    description: descriptionProblem,
    'role-name': roleNameProblem,
    email: emailProblem,
    'ip-address': addressProblem,
    'current-password': passwordProblem,
    'new-password': (password) => newPasswordProblem(password, passwordPolicy)
  }
}
