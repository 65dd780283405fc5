/** How much is measured, and for how long. */
export interface Scale {
  /** How often each cell is measured; the median counts. */
  rounds: number
  /** How long a cell is measured each time: with many connections, with one, and with logins. */
  windowSeconds: number
  singleSeconds: number
  loginSeconds: number
  /** How long a cell is under load before it is measured for the first time. */
  warmUpSeconds: number
  /** How long token checks are measured without and with an overload; `settleSeconds` at the beginning do not count. */
  calmSeconds: number
  overloadSeconds: number
  settleSeconds: number
  /** How many users the databases have that are compared. */
  scaling: number[]
  spawns: number
  /** How long a new server is left alone, and then put under load, before its memory is looked at. */
  idleSeconds: number
  loadSeconds: number
}

/** For figures to be read: about four minutes. */
export const fullScale: Scale = {
  rounds: 3,
  windowSeconds: 1.2,
  singleSeconds: 0.6,
  loginSeconds: 2,
  warmUpSeconds: 0.5,
  calmSeconds: 5,
  overloadSeconds: 7,
  settleSeconds: 1,
  scaling: [1_000, 100_000, 1_000_000],
  spawns: 7,
  idleSeconds: 1,
  loadSeconds: 2
}

/** Shows that the benchmark itself works; its figures say nothing. */
export const smokeScale: Scale = {
  rounds: 1,
  windowSeconds: 0.15,
  singleSeconds: 0.1,
  loginSeconds: 0.2,
  warmUpSeconds: 0,
  calmSeconds: 0.2,
  overloadSeconds: 0.5,
  settleSeconds: 0,
  scaling: [100, 1_000],
  spawns: 1,
  idleSeconds: 0.2,
  loadSeconds: 0.2
}
