/** How much a run measures, and for how long. */
export interface Scale {
  /** How often each cell is measured; the result is the median. */
  rounds: number
  /** How long each measurement takes: with many connections, with one, and with logins. wrk measures whole seconds. */
  windowSeconds: number
  singleSeconds: number
  loginSeconds: number
  /** How long a cell is under load before its first measurement. */
  warmUpSeconds: number
  /** How long token checks are measured without and during an overload; the first `settleSeconds` do not count. */
  calmSeconds: number
  overloadSeconds: number
  settleSeconds: number
  /** The numbers of users in the databases that are compared. */
  scaling: number[]
  spawns: number
  /** How often each variant of the server is measured with `--parts`, and for how long. */
  partRounds: number
  partSeconds: number
  /** How long a new server is idle, then under load, before its memory is measured. */
  idleSeconds: number
  loadSeconds: number
}

/** A full run. */
export const fullScale: Scale = {
  rounds: 3,
  windowSeconds: 2,
  singleSeconds: 1,
  loginSeconds: 4,
  warmUpSeconds: 1,
  calmSeconds: 5,
  overloadSeconds: 7,
  settleSeconds: 1,
  scaling: [1_000, 100_000, 1_000_000],
  spawns: 7,
  partRounds: 5,
  partSeconds: 1,
  idleSeconds: 1,
  loadSeconds: 2
}

/** A smoke run: tests the benchmark itself; its figures mean nothing. */
export const smokeScale: Scale = {
  rounds: 1,
  windowSeconds: 0.15,
  singleSeconds: 0.1,
  loginSeconds: 1,
  warmUpSeconds: 0,
  calmSeconds: 0.2,
  overloadSeconds: 0.5,
  settleSeconds: 0,
  scaling: [100, 1_000],
  spawns: 1,
  partRounds: 1,
  partSeconds: 0.1,
  idleSeconds: 0.2,
  loadSeconds: 1
}
