/**
 * Waits until a server listens, and returns the URL that it prints.
 *
 * @throws {Error} the server ended before
 */
export async function listening (child) {
  let printed = ''
  // Later output is discarded: it must not fill the pipe.
  for await (const text of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    printed += text
    const url = /listen(?:s|ing) at (http:\/\/[\d.:]+)/.exec(printed)?.[1]
    if (url === undefined) continue
    child.stdout.resume()
    return url
  }
  throw new Error(`the server ended before it listened: ${printed}`)
}
