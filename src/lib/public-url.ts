/**
 * What is wrong with the URL under which people reach an app, as the end of a sentence;
 * `undefined` when nothing is. It is the beginning of links.
 */
export function publicUrlProblem (text: string): string | undefined {
  const rule = 'must be a URL like https://login.example.com, without a query, a fragment or a user'
  if (text.length > 1_000 || /\s/.test(text) || !/^https?:\/\//i.test(text) || !URL.canParse(text)) return rule
  const { username, password } = new URL(text)
  return /[?#]/.test(text) || username !== '' || password !== '' ? rule : undefined
}
