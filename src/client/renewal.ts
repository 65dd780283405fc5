import { isHalfOver, timesOf } from './token-times.js'

/** What a server answers to the renewal of a token. */
export interface Renewal {
  /** The new token; undefined where it was not renewed. */
  token?: string
  status: number
}

/** The options of a renewal. */
export interface RenewalOptions {
  /** The token that the client sends. */
  current: () => string | undefined
  /** Asks the server to renew a token. */
  renew: (token: string) => Promise<Renewal>
  /** Called with the new token, unless the client has another one by then. */
  onRenewed: (token: string) => void
}

/** Renews the token of a client. */
export interface TokenRenewal {
  /**
   * Renews the token if more than half of its lifetime is over. Calls at the same time share one
   * renewal. It never rejects: a token that could not be renewed may still be valid.
   */
  renewIfDue: () => Promise<void>
  /** The renewal that is in flight, if any. */
  inFlight: () => Promise<void> | undefined
}

/** Creates the renewal of a client's token. */
export function tokenRenewal ({ current, renew, onRenewed }: RenewalOptions): TokenRenewal {
  let renewing: Promise<void> | undefined
  /** A token that is not renewed again, because the server refuses it, or because nothing is gained. */
  let lastToken: string | undefined

  async function renewToken (token: string, exp: number): Promise<void> {
    try {
      const { token: renewed, status } = await renew(token)
      // After too many attempts, or a fault, the same request may succeed later.
      if (renewed === undefined && status < 500 && status !== 429) lastToken = token
      if (renewed === undefined || current() !== token) return
      const times = timesOf(renewed)
      // The session ends with it, or the clock here is wrong: it would be renewed over and over.
      if (times === undefined || times.exp <= exp || isHalfOver(times)) lastToken = renewed
      onRenewed(renewed)
    } catch {
      // There is no response: the call that asked for the renewal will say so.
    }
  }

  return {
    async renewIfDue () {
      const token = current()
      const times = token === undefined || token === lastToken ? undefined : timesOf(token)
      if (token !== undefined && times !== undefined && isHalfOver(times)) renewing ??= renewToken(token, times.exp).finally(() => { renewing = undefined })
      await renewing
    },
    inFlight: () => renewing
  }
}
