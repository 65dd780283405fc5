import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import { claimsOf } from '../helper.js'
import { type Account, accountNamed, addToken, hasOtherAdmin, loginLifetimeSeconds, type Model, recordEvent, revokeTokens } from './model.js'
import { accountOfAsker, anyone, ask, type Asker, guard, invalid, pick, type Plan, refusedBy, type Step, type Verdict } from './step.js'

const usernames = ['bob', 'BOB', 'carol', 'alexandra-1st', 'dave', 'Root', 'x', 'a.b_c+d-e']
const badUsernames = ['', '.', '..', '-evil', 'a b', 'ü', 'bob\0', 'a/b', 'x'.repeat(65)]
const emails = [undefined, null, 'bob@example.com', 'BOB@Example.COM', 'carol@example.com']
const badEmails = ['', 'nope', 'a@b, c@d']
/** Two of them are one, in NFC and NFD. */
export const passwords = ['correct horse battery staple', 'incorrect donkey charger clip', 'Cr\u00e8me br\u00fbl\u00e9e', 'Cre\u0300me bru\u0302le\u0301e', 'Alexandra-1st']
/** No account can have one of these. */
const badNewPasswords = ['', 'short', 'password', 'nul \0 in it', 'half a pair \ud83d', 'x'.repeat(257)]
/** A login can try the others. */
const unusablePasswords = ['', 'nul \0 in it', 'half a pair \ud83d', 'x'.repeat(257)]

const mostly = <Good, Bad>(good: readonly Good[], bad: readonly Bad[]): fc.Arbitrary<Good | Bad> =>
  fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...good) }, { weight: 1, arbitrary: fc.constantFrom(...bad) })

/** A password to be checked: undefined for the right one. */
export const givenPassword = fc.oneof({ weight: 8, arbitrary: fc.constant(undefined) }, { weight: 2, arbitrary: fc.constantFrom(...passwords) }, { weight: 1, arbitrary: fc.constantFrom(...badNewPasswords) })

export const isSamePassword = (one: string, other: string) => one.normalize('NFC') === other.normalize('NFC')

/** Whether a password is its owner's username or e-mail. */
function isPersonal (password: string, { username, email }: { username: string, email?: string | null }): boolean {
  return [username, email].some((name) => name?.toLowerCase() === password.toLowerCase())
}

export const accountBody = ({ id, username, email, createdAt }: Account) => ({ id, username, email, email_verified: false, created_at: new Date(createdAt).toISOString() })

export const signUp = fc.record({
  username: mostly(usernames, badUsernames), email: mostly(emails, badEmails), password: mostly(passwords, badNewPasswords)
}).map((payload): Plan => () => ({
  request: { method: 'POST', url: '/api/v1/signup', payload },
  asker: 'anyone',
  judge (model): Verdict {
    const { username, email = null, password } = payload
    const isInvalid = badUsernames.includes(username) || badEmails.includes(String(email)) || badNewPasswords.includes(password)
    if (isInvalid || isPersonal(password, payload)) return { answers: [invalid] }
    if (accountNamed(model, username) !== undefined) return { answers: ['409 USERNAME_TAKEN'] }
    if (email !== null && model.accounts.some((account) => !account.isDeleted && account.email?.toLowerCase() === email.toLowerCase())) return { answers: ['409 EMAIL_TAKEN'] }
    return {
      answers: ['200'],
      effect (body) {
        const { user: { id } } = body as { user: { id: number } }
        const account = { id, username, email, password, createdAt: model.now, roles: [], isDeleted: false }
        deepEqual(body, { msg: 'welcome :-)', user: accountBody(account) })
        deepEqual(model.accounts.filter((account) => account.id >= id), [], 'an id is given twice')
        model.accounts.push(account)
        recordEvent(model, 'signup', { userId: id })
      }
    }
  }
}))

function logInStep (username: string, password: string): Step {
  return {
    request: { method: 'POST', url: '/api/v1/login', payload: { username, password }, headers: { 'user-agent': `a browser of ${username}` } },
    asker: 'anyone',
    judge (model): Verdict {
      if (username === '' || unusablePasswords.includes(password)) return { answers: [invalid] }
      const account = accountNamed(model, username)
      const fail = (answer: string, outcome: string): Verdict => ({ answers: [answer], effect: () => recordEvent(model, 'login_failure', { outcome, userId: account?.id ?? null }) })
      if (account === undefined) return fail('404 USERNAME_UNKNOWN', 'username_unknown')
      if (!isSamePassword(password, account.password)) return fail('401 PASSWORD_INCORRECT', 'password_incorrect')
      return {
        answers: ['200'],
        effect (body) {
          const { token: value, ...others } = body as { token: string }
          deepEqual(others, { token_type: 'Bearer', expires_in: loginLifetimeSeconds })
          const { jti: id, ...claims } = claimsOf(value)
          const iat = model.now / 1_000
          deepEqual(claims, { user_id: account.id, iat, exp: iat + loginLifetimeSeconds })
          addToken(model, { value, id, userId: account.id, kind: 'login', description: `a browser of ${username}`, expiresAt: model.now + loginLifetimeSeconds * 1_000 })
          recordEvent(model, 'login', { userId: account.id })
        }
      }
    }
  }
}

const passwordOf = (model: Model, username: string) => accountNamed(model, username)?.password ?? passwords[0] ?? ''

export const logIn = fc.record({ username: mostly(usernames, ['', 'nobody', '.', 'a b']), password: givenPassword })
  .map(({ username, password }): Plan => (model) => logInStep(username, password ?? passwordOf(model, username)))

/** A login that must succeed. */
export const logInAs = (account: Account) => logInStep(account.username, account.password)

export function changePasswordStep (asker: Asker, password: string, next: string): Step {
  return {
    request: { method: 'PUT', url: '/api/v1/me/password', headers: asker.headers, payload: { current_password: password, new_password: next } },
    asker: asker.name,
    judge (model): Verdict {
      const refused = refusedBy(guard(model, asker), (unusablePasswords.includes(password) || badNewPasswords.includes(next)) && invalid)
      if (refused !== undefined) return refused
      const account = accountOfAsker(model, asker)
      if (isPersonal(next, account)) return { answers: [invalid] }
      if (!isSamePassword(password, account.password)) return { answers: ['401 PASSWORD_INCORRECT'], effect: () => recordEvent(model, 'password_change', { outcome: 'password_incorrect', userId: account.id }) }
      return {
        answers: ['204'],
        effect () {
          account.password = next
          revokeTokens(model, account.id, asker.value)
          recordEvent(model, 'password_change', { userId: account.id })
        }
      }
    }
  }
}

/** Another password than this one: of several changes to the same one it would not be known which were made. */
export const otherPassword = (password: string, index: number) => pick(passwords.filter((other) => !isSamePassword(other, password)), index)

export const changePassword = fc.record({ credential: anyone, current: givenPassword, index: fc.nat(99), bad: mostly([undefined], badNewPasswords) })
  .map(({ credential, current, index, bad }): Plan => (model) => {
    const asker = ask(model, credential)
    const password = current ?? ownPassword(model, asker)
    return changePasswordStep(asker, password, bad ?? otherPassword(password, index))
  })

export function deleteMeStep (asker: Asker, password: string): Step {
  return {
    request: { method: 'DELETE', url: '/api/v1/me', headers: asker.headers, payload: { password } },
    asker: asker.name,
    isIdempotent: true,
    judge (model): Verdict {
      const refused = refusedBy(guard(model, asker), unusablePasswords.includes(password) && invalid)
      if (refused !== undefined) return refused
      const account = accountOfAsker(model, asker)
      if (!isSamePassword(password, account.password)) return { answers: ['401 PASSWORD_INCORRECT'], effect: () => recordEvent(model, 'deletion', { outcome: 'password_incorrect', userId: account.id }) }
      if (account.roles.includes('admin') && !hasOtherAdmin(model, account.id)) return { answers: ['409 LAST_ADMIN'] }
      return {
        answers: ['204'],
        effect () {
          account.isDeleted = true
          account.roles = []
          recordEvent(model, 'deletion', { userId: account.id })
        }
      }
    }
  }
}

export const deleteMe = fc.record({ credential: anyone, given: givenPassword }).map(({ credential, given }): Plan => (model) => {
  const asker = ask(model, credential)
  return deleteMeStep(asker, given ?? ownPassword(model, asker))
})

/** The password of whoever asks; any for somebody that the model does not know. */
export function ownPassword (model: Model, asker: Asker): string {
  return asker.value === undefined ? passwords[0] ?? '' : accountOfAsker(model, asker).password
}
