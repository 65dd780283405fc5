import type { BuildOptions, Plugin } from 'esbuild'

export function readModule (path: string): string
export const bundleSettings: BuildOptions & { plugins: Plugin[] }
