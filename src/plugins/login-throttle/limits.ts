/** What one address, one account may try. 0 switches a limit off. */
export interface AttemptLimits {
  /** Failed logins of one address in a minute: 30 by default. */
  loginFailuresPerAddressMinute?: number
  /** Failed logins of one address in an hour: 300 by default. */
  loginFailuresPerAddressHour?: number
  /** Failed logins for one username before its attempts have to wait: 10 by default. */
  loginFailuresPerAccount?: number
  /** Successful logins of one address in a minute: 1,200 by default. */
  loginsPerAddressMinute?: number
  /** Successful logins of one account in a minute: 300 by default. */
  loginsPerAccountMinute?: number
  /** Personal access tokens made by one account in an hour: 200 by default. */
  tokensPerAccountHour?: number
  /** Accounts made from one address in an hour: 100 by default. */
  signupsPerAddressHour?: number
}

/**
 * High enough for people with a bad memory and for offices behind one address, low enough
 * that guessing is hopeless: at most 300 guesses an hour from an address, some 100 a day
 * for an account. Logins that succeed cost as much to check as those that fail: more of
 * them than people make are a load, not people.
 *
 * @see https://cheatsheetseries.owasp.org/cheatsheets/Authentication_Cheat_Sheet.html#login-throttling
 * @see NIST SP 800-63B-4, section 3.2.2
 */
export const defaultAttemptLimits = {
  loginFailuresPerAddressMinute: 30,
  loginFailuresPerAddressHour: 300,
  loginFailuresPerAccount: 10,
  loginsPerAddressMinute: 1_200,
  loginsPerAccountMinute: 300,
  tokensPerAccountHour: 200,
  signupsPerAddressHour: 100
} satisfies Required<AttemptLimits>

/** The highest limit that can be set: of each address so many times are remembered. */
export const attemptLimitMax = 10_000

/** An account's longest wait between two attempts, in seconds. Each failure doubles it, from one second on. */
export const longestWaitSeconds = 900
