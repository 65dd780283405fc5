import type { HashProblem, StoredHash } from './hash-format.js'

/** How many bytes of a password bcrypt uses. */
export const bcryptPasswordBytes = 72

// Each step doubles bcrypt's work: 12, the usual cost, takes some 300 ms of processor time, 13
// twice that, and an answer should be there within a second.
const [costMin, costMax] = [4, 13]

// Of the variants of bcrypt the three that are one algorithm; `$2x$` marks a bug.
const format = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/

/** Parses bcrypt. */
export function parseBcrypt (hash: string): StoredHash | HashProblem | undefined {
  if (!/^\$2\w?\$/.test(hash)) return undefined
  const [, cost] = format.exec(hash) ?? []
  if (cost === undefined) return { problem: 'is no bcrypt hash: $2a$, $2b$ or $2y$, a cost of two digits, $, and 53 characters' }
  if (Number(cost) < costMin || Number(cost) > costMax) return { problem: `has a bcrypt cost outside of ${costMin} to ${costMax}` }
  return {
    algorithm: 'bcrypt',
    async verify (password) {
      // Loaded when needed: most installations have no bcrypt hashes.
      const bcrypt = await import('@node-rs/bcrypt')
      return await bcrypt.verify(password, hash)
    }
  }
}
