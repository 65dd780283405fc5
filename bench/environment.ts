import { availableParallelism, cpus } from 'node:os'
import { hasWrk } from './wrk.js'

/** The machine and the date of a run. */
export interface Environment {
  /** `YYYY-MM-DD` */
  date: string
  node: string
  platform: string
  processors: number
  model: string
  /** The program that sends the requests. */
  generator: 'wrk' | 'autocannon'
  /** A smoke run: its figures mean nothing. */
  isSmoke: boolean
}

/** Describes this machine today. */
export function describeEnvironment (isSmoke: boolean): Environment {
  return {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    processors: availableParallelism(),
    model: cpus()[0]?.model ?? 'unknown',
    generator: hasWrk ? 'wrk' : 'autocannon',
    isSmoke
  }
}
