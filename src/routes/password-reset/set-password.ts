import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Overloaded, ServiceUnavailable } from '../../errors.js'
import { publicRoute } from '../../plugins/authenticate/public-route.js'
import { CodeInvalid } from '../../plugins/codes/errors.js'
import { passwordChangedMail } from '../../plugins/mail/messages.js'
import { notifyOwner } from '../../plugins/mail/notes.js'
import { hashJobOf } from '../../plugins/passwords/hash-job.js'
import { rejectPersonalPassword } from '../../plugins/passwords/personal-password.js'
import { ref } from '../../schema-ref.js'
import { PasswordReset } from './schemas.js'

const setPassword: FastifyPluginAsyncTypebox = async (app) => {
  app.put('/password-reset', {
    config: { [publicRoute]: true, errors: [CodeInvalid, ServiceUnavailable, Overloaded] },
    onRequest: app.passwords.rejectWhenFull('login'),
    schema: {
      operationId: 'resetPassword',
      tags: ['Passwords'],
      summary: 'Set a new password with a code',
      description: 'Sets the password of the account that the code was issued for, and revokes all of its tokens, also the personal ones. All other codes of the account for a new password or for its email are not valid any longer, and the wait after failed logins ends. It logs nobody in, and a disabled account stays disabled. A code works once; a password that is rejected does not use it up.',
      security: [],
      body: ref(PasswordReset),
      response: { 204: Type.Null({ description: 'The password was set.' }) }
    }
  }, async (request, reply) => {
    const { code, new_password: password } = request.body
    const found = await app.codes.find('password_reset', code)
    const user = await app.users.findById(found?.userId ?? 0)
    if (found === undefined || user === undefined) throw new CodeInvalid()
    rejectPersonalPassword('new_password', password, user)
    const passwordHash = await app.passwords.hash(password, hashJobOf(request, reply))
    if (!(await app.passwordReset.setPassword({ hash: found.hash, userId: user.id }, passwordHash))) throw new CodeInvalid()
    app.audit.record({ kind: 'password_reset', userId: user.id }, request)
    notifyOwner(app, user, passwordChangedMail)
    reply.code(204)
    return null
  })
}

export default setPassword
