import { readFileSync } from 'node:fs'
import t from 'tap'
import { errorCode, errorMembers, errorMessage, errorStack, isNodeError } from '../src/lib/error-code.js'

function thrownBy (run: () => unknown): unknown {
  try {
    return run()
  } catch (error) {
    return error
  }
}

t.test('error codes and messages · of whatever was thrown', async (t) => {
  const missing = thrownBy(() => readFileSync('/no/such/file'))
  t.ok(isNodeError(missing) && missing.syscall === 'open')
  t.equal(errorCode(missing), 'ENOENT')
  t.match(errorMessage(missing), /^ENOENT: no such file/)
  t.match(errorStack(missing), /^Error: ENOENT: no such file/)
  for (const thrown of [undefined, null, 'a failure', 7, {}, { code: 7 }, new Error('a failure'), Object.assign(new Error('a failure'), { code: 7 })]) {
    t.equal(isNodeError(thrown), false)
    t.equal(errorCode(thrown), undefined)
  }
  t.equal(errorCode({ code: 'ENOENT' }), 'ENOENT')
  t.same(errorMembers('a failure'), {})
  for (const thrown of ['a failure', new Error('a failure')]) t.equal(errorMessage(thrown), 'a failure')
  t.equal(errorStack('a failure'), 'a failure')
})
