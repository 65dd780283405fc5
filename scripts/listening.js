/** Resolves with the address that a server prints once it listens; rejects when it ends before. */
export async function listening (child) {
  let printed = ''
  // What comes later is nobody's, but must not fill the pipe.
  for await (const text of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    printed += text
    const url = /listen(?:s|ing) at (http:\/\/[\d.:]+)/.exec(printed)?.[1]
    if (url === undefined) continue
    child.stdout.resume()
    return url
  }
  throw new Error(`it ended before it listened: ${printed}`)
}
