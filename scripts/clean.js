// Removes the build, so that no file without a source is published.
import { rmSync } from 'node:fs'

rmSync('dist', { recursive: true, force: true })
