/** What a stored argon2id hash says about itself (the PHC string format). */
export interface HashParameters {
  /** Memory in KiB. */
  memoryCost: number
  /** Passes over the memory. */
  timeCost: number
  /** Lanes. */
  parallelism: number
}

/**
 * argon2id with 19 MiB, 2 passes, 1 lane.
 * @see https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
 */
export const recommendedParameters: HashParameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

// A stored hash is believed only within these bounds: a row that asks for a gigabyte must
// not cost one, nor hold a thread for seconds. They leave room for RFC 9106's second
// recommendation (64 MiB, 3 passes) and 10 times today's work.
const memoryCostMax = 131_072
const parallelismMax = 8
const workMax = 10 * recommendedParameters.memoryCost * recommendedParameters.timeCost

const phc = /^\$argon2id\$v=19\$m=(\d{1,10}),t=(\d{1,10}),p=(\d{1,10})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}$/

/** The parameters of a stored hash; `undefined` when it is no argon2id hash or asks for more than is affordable. */
export function parametersOf (hash: string): HashParameters | undefined {
  const [, memoryCost, timeCost, parallelism] = phc.exec(hash)?.map(Number) ?? []
  if (memoryCost === undefined || timeCost === undefined || parallelism === undefined) return undefined
  const affordable = memoryCost <= memoryCostMax && parallelism <= parallelismMax && memoryCost * timeCost <= workMax
  return affordable ? { memoryCost, timeCost, parallelism } : undefined
}
