import type { ResolvedOptions } from '../../options.js'

/** What one address and one account may try; 0 switches a limit off. */
export type AttemptLimits = Pick<ResolvedOptions,
  | 'loginFailuresPerAddressMinute' | 'loginFailuresPerAddressHour' | 'loginFailuresPerAccount'
  | 'loginsPerAddressMinute' | 'loginsPerAccountMinute' | 'tokensPerAccountHour' | 'signupsPerAddressHour'>

/** An account's longest wait between two attempts, in seconds. Each failure doubles it, from one second on. */
export const longestWaitSeconds = 900
