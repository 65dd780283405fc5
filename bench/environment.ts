import { availableParallelism, cpus } from 'node:os'

/** Where, when and how it was measured. */
export interface Environment {
  /** Year, month and day. */
  date: string
  node: string
  platform: string
  processors: number
  model: string
  /** Its figures say nothing. */
  isSmoke: boolean
}

/** This machine, now. */
export function describeEnvironment (isSmoke: boolean): Environment {
  return {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    processors: availableParallelism(),
    model: cpus()[0]?.model ?? 'unknown',
    isSmoke
  }
}
