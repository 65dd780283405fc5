const newline = 0x0a

/** The longest line, in bytes: far more than an account with all its tokens. */
const lineMaxBytes = 1_048_576

/** A line with its number, counted from 1. `text` is undefined when it is too long or not UTF-8. */
export interface Line {
  number: number
  text: string | undefined
}

function decode (bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** The lines of a stream of bytes, those that are blank left out. What is too long is not kept in memory. */
export async function * parseNdjson (stream: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  let number = 0
  // The line that is being read, in the pieces in which it came, and its length.
  let pieces: Uint8Array[] = []
  let bytes = 0
  const add = (piece: Uint8Array) => {
    bytes += piece.length
    if (bytes <= lineMaxBytes) pieces.push(piece)
    else pieces = []
  }
  const endLine = (): Line[] => {
    number++
    const text = bytes > lineMaxBytes ? undefined : decode(Buffer.concat(pieces))
    pieces = []
    bytes = 0
    return text?.trim() === '' ? [] : [{ number, text }]
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
