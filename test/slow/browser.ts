import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { build as bundle } from 'esbuild'
import Fastify from 'fastify'
import { type Browser, chromium, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import latchkey from '../../src/index.js'
import { servicesOf } from '../../src/services.js'
import { testOptions } from '../../src/testing.js'
import { bob, build, proxyBelow, signUp } from '../helper.js'

const executablePath = [process.env.CHROMIUM_PATH, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => path !== undefined && existsSync(path))
const skip = executablePath === undefined ? 'no Chromium is installed: name one in CHROMIUM_PATH' : false

let browser: Browser | undefined
t.before(async () => {
  if (skip !== false) return
  browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] })
})
t.teardown(() => browser?.close())

/** Swagger UI, as a person uses it. */
function docs (page: Page) {
  const block = (operationId: string) => page.locator(`[id^="operations-"][id$="-${operationId}"]`)
  return {
    /** Opens an operation, presses Execute, and reads the answer. */
    async execute (operationId: string): Promise<{ status: string, body: string }> {
      const operation = block(operationId)
      if (!(await operation.getAttribute('class'))?.includes('is-open')) await operation.locator('.opblock-summary-control').click()
      const clear = operation.getByRole('button', { name: 'Clear', exact: true })
      if (await clear.isVisible()) await clear.click()
      await operation.getByRole('button', { name: 'Execute', exact: true }).click()
      const row = operation.locator('.live-responses-table .response').first()
      await row.waitFor()
      const status = (await row.locator('.response-col_status').innerText()).trim().split('\n')[0] ?? ''
      const body = row.locator('.highlight-code').first()
      return { status, body: await body.count() > 0 ? (await body.innerText()).replace(/^\s*Download\s*/, '').trim() : '' }
    },
    async authorize (token: string): Promise<void> {
      await page.locator('.scheme-container').getByRole('button', { name: 'Authorize', exact: true }).click()
      const dialog = page.locator('.modal-ux')
      await dialog.getByRole('textbox').fill(token)
      await dialog.getByRole('button', { name: 'Apply credentials' }).click()
      await dialog.getByRole('button', { name: 'Close', exact: true }).click()
    }
  }
}

for (const path of ['/', '/auth/']) t.test(`Swagger UI in a browser · sign up, log in, authorize, call, log out · ${path}`, { skip, timeout: 600_000 }, async (t) => { await tryDocs(t, path) })

async function tryDocs (t: Test, path: string) {
  const app = await build(t)
  const direct = await app.listen({ host: '127.0.0.1', port: 0 })
  const url = path === '/' ? direct : await proxyBelow(t, path, direct)
  // The user of the README is there already.
  await signUp(app)
  const page = await browser?.newPage()
  if (page === undefined) return
  page.setDefaultTimeout(60_000)
  const problems: string[] = []
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) problems.push(message.text()) })
  page.on('pageerror', (error) => { problems.push(String(error)) })
  await page.goto(`${url}${path}docs`)
  const { execute, authorize } = docs(page)
  await page.locator('.opblock').first().waitFor()
  const status = async (operationId: string) => (await execute(operationId)).status

  t.equal(await page.title(), 'Latchkey · API')
  t.ok(await page.locator('link[rel="icon"]').count() > 0)
  t.match(await page.locator('.opblock-tag').evaluateAll((tags) => tags.map((tag) => tag.getAttribute('data-tag'))), ['Accounts', 'Sessions', 'Passwords', 'Users', 'Roles', 'Invitations', 'Addresses', 'Events', 'Greeting', 'Health'], 'in the order in which one needs them')

  t.equal(await status('needLogin'), '400')
  t.equal(await status('signUp'), '200', 'the example is an account')
  t.equal(await status('signUp'), '409')
  const login = await execute('logIn')
  t.equal(login.status, '200')
  const { token } = JSON.parse(login.body)
  t.equal(await page.locator('.topbar').count(), 0, 'no bar for the URL of another document')
  await authorize(`Bearer ${token}`)
  t.match(await execute('needLogin'), { status: '200', body: 'if you see this, that means your token is valid' })
  t.equal(await page.locator('[id$="-needLogin"] .live-responses-table .highlight-code code span[style*=color]').count(), 0, 'plain text has no colours')
  t.ok(await page.locator('[id$="-logIn"] .live-responses-table .highlight-code code span[style*=color]').count() > 0, 'JSON has')
  await page.reload()
  await page.locator('.opblock').first().waitFor()
  t.equal(await status('needLogin'), '200', 'authorization persists over a reload')
  t.equal(await status('needAdmin'), '403')

  // Every example works as it stands, in the order of the page.
  await servicesOf(app).roles.grant(2, 'admin')
  for (const [operationId, expected] of [
    ['getMe', '200'], ['listTokens', '200'], ['createToken', '201'], ['revokeToken', '404'],
    ['createUser', '201'], ['listUsers', '200'], ['getUser', '200'], ['disableUser', '204'], ['enableUser', '204'],
    ['listUserTokens', '200'], ['revokeUserTokens', '204'], ['unlockUser', '204'], ['startPasswordReset', '201'], ['deleteUser', '204'],
    ['createRole', '201'], ['listRoles', '200'], ['createInvite', '201'], ['listInvites', '200'], ['deleteInvite', '404'], ['grantRole', '204'], ['revokeRole', '204'], ['deleteRole', '204'],
    ['listEvents', '200'], ['listMyEvents', '200'], ['hello', '200'], ['needLoginV1', '200'], ['needAdmin', '200'], ['isLive', '200'], ['isReady', '200'],
    ['changePassword', '204']
  ] as const) t.equal(await status(operationId), expected, operationId)

  t.match((await execute('logOut')).body, /logged out/)
  t.match(await execute('needLogin'), { status: '401', body: /TOKEN_REVOKED/ })
  t.same(problems.filter((problem) => !/status of 4\d\d/.test(problem)), [], 'nothing on the console, no violation of the policy')
  await page.close()
}

for (const prefix of ['/api/v1', '/auth']) t.test(`latchkey/client in a browser · ${prefix}`, { skip, timeout: 300_000 }, async (t) => { await tryClient(t, prefix) })

async function tryClient (t: Test, prefix: string) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(latchkey, testOptions({ prefix }))
  app.get('/', async (request, reply) => reply.type('text/html').send('<!doctype html>'))
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const { outputFiles: [file] } = await bundle({ entryPoints: [join(import.meta.dirname, '../../src/client/index.ts')], bundle: true, format: 'iife', globalName: 'latchkey', platform: 'browser', write: false })
  const context = await browser?.newContext({ bypassCSP: true })
  const page = await context?.newPage()
  await page?.goto(url)
  await page?.addScriptTag({ content: String(file?.text) })
  const outcome = await page?.evaluate(async ({ baseUrl, body, prefix }) => {
    const client = Object(globalThis).latchkey.createClient({ baseUrl, prefix })
    await client.POST('/api/v1/signup', { body })
    await client.login(body)
    const { data } = await client.GET('/api/v1/me')
    await client.logout()
    return [data.username, (await client.GET('/api/v1/me')).error.code]
  }, { baseUrl: url, body: bob, prefix })
  t.same(outcome, ['bob', 'AUTHORIZATION_MISSING'])
  await context?.close()
}
