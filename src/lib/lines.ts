const newline = 0x0a

/** The longest line, in bytes: far more than an account with all its tokens. */
const lineMaxBytes = 1_048_576

/** A line with its number, counted from 1. `text` is undefined when it is too long or not UTF-8. */
export interface Line {
  number: number
  text: string | undefined
}

function decode (bytes: Uint8Array): string | undefined {
  if (bytes.length > lineMaxBytes) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** The lines of a stream of bytes, those that are blank left out. What is too long is not kept in memory. */
export async function * linesOf (stream: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  let number = 0
  let rest = Buffer.alloc(0)
  const line = (bytes: Buffer): Line[] => {
    number++
    const text = decode(bytes)
    return text?.trim() === '' ? [] : [{ number, text }]
  }
  for await (const chunk of stream) {
    rest = Buffer.concat([rest, chunk])
    let start = 0
    for (let end = rest.indexOf(newline); end !== -1; end = rest.indexOf(newline, start)) {
      yield * line(rest.subarray(start, end))
      start = end + 1
    }
    rest = rest.subarray(start, start + lineMaxBytes + 1)
  }
  if (rest.length > 0) yield * line(rest)
}
