const newline = 0x0a

/** The longest line, in bytes: far longer than an account with all its tokens. */
const lineMaxBytes = 1_048_576

/** A line with its number, counted from 1: its text, or why it cannot be read. */
export type Line = { number: number, text: string } | { number: number, text: undefined, problem: string }

function decode (bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/**
 * Splits a stream of bytes into lines (https://github.com/ndjson/ndjson-spec). Skips blank
 * lines, and keeps no line in memory that is too long.
 */
export async function * parseNdjson (stream: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  let number = 0
  // The chunks of the current line, and its length so far.
  let chunks: Uint8Array[] = []
  let bytes = 0
  const add = (part: Uint8Array) => {
    bytes += part.length
    if (bytes <= lineMaxBytes) chunks.push(part)
    else chunks = []
  }
  const endLine = (): Line[] => {
    number++
    const isTooLong = bytes > lineMaxBytes
    const text = isTooLong ? undefined : decode(Buffer.concat(chunks))
    chunks = []
    bytes = 0
    if (text === undefined) return [{ number, text, problem: isTooLong ? 'it is longer than 1 MiB' : 'it is not UTF-8' }]
    return text.trim() === '' ? [] : [{ number, text }]
  }
  for await (const chunk of stream) {
    let start = 0
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      add(chunk.subarray(start, end))
      yield * endLine()
      start = end + 1
    }
    add(chunk.subarray(start))
  }
  if (bytes > 0) yield * endLine()
}
