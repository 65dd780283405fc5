import { print } from './output.js'
import type { Terminal } from './terminal.js'

/** No column of a table that must fit a terminal is narrower than this, as long as there is room. */
const columnMinWidth = 4
const gap = '  '

/** A row: the cells by the names of their columns. */
export type Row = Record<string, unknown>

/** A cell as text: several values with commas, nothing for null. */
const cellText = (value: unknown): string => [value ?? ''].flat().join(', ')

/** Counted in characters, not in UTF-16 units. */
const widthOf = (text: string): number => [...text].length

/** A text of at most `width` characters: the end is cut off. */
function cut (text: string, width: number): string {
  const characters = [...text]
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join('')}…`
}

/** How many characters a line can have: COLUMNS, or what the terminal says; no limit where output goes to a file or a program. */
function lineWidth ({ env, stdout }: Terminal): number {
  const columns = /^[1-9]\d{0,4}$/.test(env.COLUMNS ?? '') ? Number(env.COLUMNS) : stdout.columns
  return columns ?? Infinity
}

/** Makes the widest columns narrower until a line fits. */
function fit (widths: number[], width: number): number[] {
  const fitted = [...widths]
  const available = width - gap.length * (widths.length - 1)
  let sum = fitted.reduce((sum, each) => sum + each, 0)
  for (let widest = Math.max(...fitted); sum > available && widest > columnMinWidth; widest = Math.max(...fitted)) {
    fitted[fitted.indexOf(widest)] = widest - 1
    sum--
  }
  return fitted
}

/**
 * Prints a table page by page, with a header before the first one.
 *
 * @param columns the names of the columns, in the order of their use, and the widths that they have at least
 * @returns prints rows; their columns are as wide as those of the widest page so far
 */
export function tablePrinter (terminal: Terminal, columns: Record<string, number>): (rows: Row[]) => Promise<void> {
  const names = Object.keys(columns)
  let widths = Object.values(columns)
  let hasHeader = false
  return async (rows) => {
    const lines = rows.map((row) => names.map((name) => cellText(row[name])))
    if (lines.length === 0) return
    if (!hasHeader) lines.unshift(names)
    hasHeader = true
    widths = widths.map((width, column) => lines.reduce((widest, line) => Math.max(widest, widthOf(String(line[column]))), width))
    const width = lineWidth(terminal)
    const fitted = fit(widths, width)
    const text = lines.map((line) => cut(line.map((cell, column) => {
      const shown = cut(cell, Number(fitted[column]))
      return shown + ' '.repeat(Number(fitted[column]) - widthOf(shown))
    }).join(gap).trimEnd(), width))
    await print(terminal, `${text.join('\n')}\n`)
  }
}

/** Prints records: a table, or with `--json` an array on one line. */
export async function printRecords (terminal: Terminal, { json = false }: { json?: boolean }, columns: Record<string, number>, pages: AsyncIterable<Row[]> | Array<Row[]>, none: string): Promise<void> {
  const printTable = tablePrinter(terminal, columns)
  let count = 0
  if (json) await print(terminal, '[')
  for await (const page of pages) {
    if (json && page.length > 0) await print(terminal, `${count === 0 ? '' : ','}${page.map((record) => JSON.stringify(record)).join(',')}`)
    if (!json) await printTable(page)
    count += page.length
  }
  if (json) await print(terminal, ']\n')
  else if (count === 0) await print(terminal, `${none}\n`)
}
