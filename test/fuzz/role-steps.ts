import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import { accountBody } from './account-steps.js'
import { type Account, accountNamed, accountOf, hasOtherAdmin, recordEvent } from './model.js'
import { accountOfAsker, anyone, ask, type Asker, guard, invalid, mostlyAdmin, type Plan, refusedBy, type Step, type Verdict } from './step.js'
import { type Body, bodyRefusal, noBody, withBody } from './token-steps.js'

const roleNames = ['editor', 'author.2', 'admin']
const badRoleNames = ['', 'Editor', '2', 'a b', 'x'.repeat(65)]
const badDescriptions = ['', 'two\nlines']
const onlyAdmins = { onlyAdmins: true }

export function createRoleStep (asker: Asker, role: { name: string, description: string }): Step {
  const isInvalid = badRoleNames.includes(role.name) || badDescriptions.includes(role.description)
  return {
    request: { method: 'POST', url: '/api/v1/roles', headers: asker.headers, payload: role },
    asker: asker.name,
    judge (model): Verdict {
      const refused = refusedBy(guard(model, asker, onlyAdmins), isInvalid && invalid)
      if (refused !== undefined) return refused
      if (role.name in model.roles) return { answers: ['409 ROLE_EXISTS'] }
      return {
        answers: ['201'],
        effect (body) {
          deepEqual(body, role)
          model.roles[role.name] = role.description
          recordEvent(model, 'role_change', { actorId: accountOfAsker(model, asker).id })
        }
      }
    }
  }
}

export const createRole = fc.record({
  credential: mostlyAdmin,
  name: fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...roleNames) }, { weight: 1, arbitrary: fc.constantFrom(...badRoleNames) }),
  description: fc.constantFrom('May change articles.', 'May change articles.', ...badDescriptions)
}).map(({ credential, ...role }): Plan => (model) => createRoleStep(ask(model, credential), role))

export const listRolesStep = (asker: Asker): Step => ({
  request: { method: 'GET', url: '/api/v1/roles', headers: asker.headers },
  asker: asker.name,
  judge: (model): Verdict => refusedBy(guard(model, asker, onlyAdmins)) ?? {
    answers: ['200'],
    effect (body) {
      const { roles } = body as { roles: Array<{ name: string, description: string }> }
      deepEqual(roles.map(({ name }) => name), Object.keys(model.roles).sort())
      for (const { name, description } of roles) if (name !== 'admin') deepEqual(description, model.roles[name])
    }
  }
})

/** An admin looks at the roles of a user, who may have been deleted. */
export const getUserStep = (asker: Asker, { id, username }: Pick<Account, 'id' | 'username'>): Step => ({
  request: { method: 'GET', url: `/api/v1/users/${encodeURIComponent(username)}`, headers: asker.headers },
  asker: asker.name,
  judge: (model): Verdict => refusedBy(guard(model, asker, onlyAdmins), accountOf(model, id).isDeleted && '404 USER_UNKNOWN') ?? {
    answers: ['200'],
    effect (body) {
      const { roles } = body as { roles: string[] }
      deepEqual(roles, accountOf(model, id).roles.toSorted())
    }
  }
})

export const listRoles = mostlyAdmin.map((credential): Plan => (model) => listRolesStep(ask(model, credential)))

export const deleteRole = fc.record({ credential: mostlyAdmin, name: fc.constantFrom(...roleNames, 'nothing', 'A%20b'), body: noBody })
  .map(({ credential, name, body }): Plan => (model) => {
    const asker = ask(model, credential)
    return {
      request: { method: 'DELETE', url: `/api/v1/roles/${name}`, ...withBody(asker, body) },
      asker: asker.name,
      judge (model): Verdict {
        const refused = refusedBy(guard(model, asker, onlyAdmins), bodyRefusal(body))
        if (refused !== undefined) return refused
        if (name === 'admin') return { answers: ['409 ROLE_PROTECTED'] }
        if (!(name in model.roles)) return { answers: ['404 ROLE_NOT_FOUND'] }
        return {
          answers: ['204'],
          effect () {
            delete model.roles[name]
            for (const account of model.accounts) account.roles = account.roles.filter((role) => role !== name)
            recordEvent(model, 'role_change', { actorId: accountOfAsker(model, asker).id })
          }
        }
      }
    }
  })

export function assignRoleStep (asker: Asker, method: 'PUT' | 'DELETE', username: string, name: string, body: Body = {}): Step {
  return {
    request: { method, url: `/api/v1/users/${username}/roles/${name}`, ...withBody(asker, body) },
    asker: asker.name,
    isIdempotent: true,
    judge (model): Verdict {
      const refused = refusedBy(guard(model, asker, onlyAdmins), bodyRefusal(body))
      if (refused !== undefined) return refused
      const account = accountNamed(model, username)
      const notFound = refusedBy(account === undefined && '404 USER_UNKNOWN', !(name in model.roles) && '404 ROLE_NOT_FOUND')
      if (account === undefined || notFound !== undefined) return notFound ?? { answers: [] }
      const rest = account.roles.filter((role) => role !== name)
      if (method === 'DELETE' && name === 'admin' && !hasOtherAdmin(model, account.id)) return { answers: ['409 LAST_ADMIN'] }
      return {
        answers: ['204'],
        effect () {
          recordEvent(model, 'role_change', { userId: account.id, actorId: accountOfAsker(model, asker).id })
          account.roles = method === 'PUT' ? [...rest, name] : rest
        }
      }
    }
  }
}

export const assignRole = fc.record({
  credential: mostlyAdmin,
  method: fc.constantFrom('PUT', 'DELETE'),
  username: fc.constantFrom('root', 'BOB', 'carol', 'alexandra-1st', 'nobody', 'a%20b'),
  name: fc.constantFrom('admin', 'admin', ...roleNames, 'nothing'),
  body: noBody
}).map(({ credential, method, username, name, body }): Plan => (model) => assignRoleStep(ask(model, credential), method === 'PUT' ? 'PUT' : 'DELETE', username, name, body))

export const getMeStep = (asker: Asker): Step => ({
  request: { method: 'GET', url: '/api/v1/me', headers: asker.headers },
  asker: asker.name,
  judge: (model): Verdict => refusedBy(guard(model, asker)) ?? {
    answers: ['200'],
    effect (body) {
      const account = accountOfAsker(model, asker)
      deepEqual(body, { ...accountBody(account), second_factor: false, roles: account.roles.toSorted() })
    }
  }
})

export const getMe = anyone.map((credential): Plan => (model) => getMeStep(ask(model, credential)))

export const greet = fc.record({ credential: anyone, url: fc.constantFrom('/need_login', '/api/v1/need_login', '/admin') })
  .map(({ credential, url }): Plan => (model) => {
    const asker = ask(model, credential)
    return {
      request: { method: 'GET', url, headers: asker.headers },
      asker: asker.name,
      judge: (model): Verdict => refusedBy(guard(model, asker, { onlyAdmins: url === '/admin' })) ?? { answers: ['200'] }
    }
  })
