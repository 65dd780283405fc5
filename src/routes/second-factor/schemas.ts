import { Type } from '@sinclair/typebox'
import { codeMaxLength } from '../../plugins/codes/code.js'
import { SecondFactorCode } from '../../plugins/second-factor/code-field.js'
import { recoveryCodeCount } from '../../plugins/second-factor/repository.js'

const password = Type.String({ minLength: 1, format: 'current-password', description: 'The password of the account.', examples: ['correct horse battery staple'] })

export const SecondFactorState = Type.Object({
  enabled_at: Type.Unsafe<string | null>({ type: ['string', 'null'], format: 'date-time', description: 'When the second factor was switched on (RFC 3339, UTC); null while it is off.', examples: ['2026-11-23T20:44:00.000Z'] }),
  recovery_codes_left: Type.Integer({ minimum: 0, maximum: recoveryCodeCount, description: 'How many recovery codes were not used.', examples: [recoveryCodeCount] })
}, { $id: 'latchkey.SecondFactor', description: 'The state of a second factor.' })

export const SecondFactorConfirmation = Type.Object({
  password,
  code: SecondFactorCode
}, { $id: 'latchkey.SecondFactorConfirmation', description: 'What confirms a change of the second factor: the password and, if it is on, a code.' })

export const EnrolmentBody = Type.Object({
  secret: Type.String({ description: 'The new secret in base32, to be typed into an authenticator app. The server shows it only once.', examples: ['JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'] }),
  uri: Type.String({ description: 'The same as the content of a QR code.', examples: ['otpauth://totp/login.example.com:ada?issuer=login.example.com&secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&algorithm=SHA1&digits=6&period=30'] }),
  enrolment: Type.String({ description: 'Send it with a code of the app to switch the second factor on.', examples: ['7ZK3QX9M2BVN4TRC8HWD5FJE'] }),
  expires_in: Type.Integer({ description: 'For how long that can be done, in seconds.', examples: [600] })
}, { $id: 'latchkey.Enrolment', description: 'A new secret, which counts once a code has proven it.' })

export const EnrolmentProof = Type.Object({
  enrolment: Type.String({ minLength: 1, maxLength: codeMaxLength, description: 'The `enrolment` of the secret.', examples: ['7ZK3QX9M2BVN4TRC8HWD5FJE'] }),
  code: Type.String({ minLength: 1, maxLength: codeMaxLength, description: 'Six digits of the authenticator app that has the secret.', examples: ['492039'] })
}, { $id: 'latchkey.EnrolmentProof', description: 'The proof that an authenticator app has the secret.' })

export const RecoveryCodes = Type.Object({
  recovery_codes: Type.Array(Type.String({ examples: ['7ZK3QX9M2BVN4TRC8HWD5FJE'] }), { minItems: recoveryCodeCount, maxItems: recoveryCodeCount, description: 'Each works once, in place of a code of the authenticator app. Case and dashes do not matter. The server shows them only once.' })
}, { $id: 'latchkey.RecoveryCodes', description: 'New recovery codes. The old ones are not valid any longer.' })
