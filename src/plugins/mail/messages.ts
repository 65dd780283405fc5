import type { User } from '../users/user.js'
import type { Mail } from './mail.js'

// Every mail that Latchkey sends: short and plain. Nothing in it is chosen by an anonymous client,
// except a username, which is ASCII without spaces.

/** The code of a mail, and the link that has it: null without PUBLIC_URL. */
interface CodeInMail {
  code: string
  url: string | null
}

/** Who gets a mail: with an address, which is the stored one. */
interface Recipient extends Pick<User, 'username'> {
  to: string
}

/** The lines that say what to do with a code. */
function codeLines ({ code, url }: CodeInMail, validFor: string): string[] {
  return [
    ...url === null ? [] : [url, ''],
    `${url === null ? 'Your' : 'If the link does not work, here is the'} code: ${code}`,
    `It is valid for ${validFor} and works once.`
  ]
}

function mailOf (kind: Mail['kind'], to: string, subject: string, lines: string[], code?: CodeInMail): Mail {
  return { kind, to, subject, text: `${lines.join('\n')}\n`, ...code === undefined ? {} : { code: code.code, ...code.url === null ? {} : { url: code.url } } }
}

/** The code to set a new password with. */
export function passwordResetMail ({ to, username }: Recipient, code: CodeInMail): Mail {
  return mailOf('password_reset', to, 'Set a new password', [
    `Somebody asked for a new password for your account ${username}.`,
    'To set one, use this:',
    '',
    ...codeLines(code, 'one hour'),
    '',
    'If it was not you, do nothing: your password stays as it is.'
  ], code)
}

/** The code that proves an address. */
export function emailVerificationMail ({ to, username }: Recipient, code: CodeInMail): Mail {
  return mailOf('email_verification', to, 'Confirm your email address', [
    `The account ${username} has named this address as its own.`,
    'To confirm that it is yours, use this:',
    '',
    ...codeLines(code, 'one day'),
    '',
    'If it was not you, do nothing.'
  ], code)
}

/** The code of an invitation. */
export function invitationMail (to: string, code: CodeInMail, validFor: string): Mail {
  return mailOf('invitation', to, 'You are invited', [
    'You are invited to create an account.',
    'To sign up, use this:',
    '',
    ...codeLines(code, validFor),
    '',
    'If you did not expect this, do nothing.'
  ], code)
}

/** A note that the password is another one now. */
export function passwordChangedMail ({ to, username }: Recipient): Mail {
  return mailOf('password_changed', to, 'Your password was changed', [
    `The password of your account ${username} was changed.`,
    'If it was not you, ask for a new password now.'
  ])
}

/** A note to the address that an account had before. */
export function emailChangedMail ({ to, username }: Recipient): Mail {
  return mailOf('email_changed', to, 'Your email address was changed', [
    `The account ${username} does not use this address any longer.`,
    'If it was not you, tell the people who run the service.'
  ])
}

/** What happened to a second factor, in the detail of its event: the same words for the owner and the audit log. */
export type SecondFactorChange = 'enabled' | 'disabled' | 'recovery codes'

const secondFactorSentences: Record<SecondFactorChange, (username: string) => string> = {
  enabled: (username) => `The second factor of your account ${username} was switched on.`,
  disabled: (username) => `The second factor of your account ${username} was switched off.`,
  'recovery codes': (username) => `Your account ${username} has new recovery codes: the old ones are not valid any longer.`
}

/** A note that the second factor was switched on or off, or has other recovery codes. */
export function secondFactorChangedMail ({ to, username }: Recipient, change: SecondFactorChange): Mail {
  return mailOf('second_factor_changed', to, 'Your second factor was changed', [
    secondFactorSentences[change](username),
    'If it was not you, change your password now, and tell the people who run the service.'
  ])
}
