async function call (url, options) {
  const response = await fetch(url, options)
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${url} answered ${response.status} ${text}`)
  return text
}

/** Signs up and logs in at a new server, and returns what the guarded route answers. @throws {Error} an answer is not 200 */
export async function visit (url) {
  const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: 'bob', password: 'correct horse battery staple' }) }
  await call(`${url}/api/v1/signup`, post)
  const { token } = JSON.parse(await call(`${url}/api/v1/login`, post))
  return call(`${url}/need_login`, { headers: { authorization: `Bearer ${token}` } })
}
