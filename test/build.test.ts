import { execFile } from 'node:child_process'
import { cpSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { plainNode, temporaryFolder } from './helper.js'

const root = join(import.meta.dirname, '..')

/** A copy of the build, and the path of its code cache. */
function copyBuild (t: Test): { folder: string, codeCache: string } {
  const folder = temporaryFolder(t)
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true })
  for (const name of ['node_modules', 'package.json']) symlinkSync(join(root, name), join(folder, name))
  // Prints whether Node accepts the cache that the bundle is loaded from.
  writeFileSync(join(folder, 'spy.cjs'), `
    const vm = require('node:vm')
    vm.Script = class extends vm.Script {
      constructor (...args) {
        super(...args)
        process.on('exit', () => console.log('rejected: ' + this.cachedDataRejected))
      }
    }`)
  const names = readdirSync(join(folder, 'dist')).filter((name) => name.endsWith('.cache'))
  t.match(names, [/^programs-\w+\.cjs\.\w+\.cache$/])
  return { folder, codeCache: join(folder, 'dist', names[0] ?? '') }
}

t.test('a build that fails · the programs of before stay', async (t) => {
  const { folder } = copyBuild(t)
  for (const name of ['src', 'scripts']) cpSync(join(root, name), join(folder, name), { recursive: true })
  writeFileSync(join(folder, 'src/programs.ts'), 'const = ')
  await t.rejects(promisify(execFile)(process.execPath, ['scripts/bundle.js'], { cwd: folder }))
  t.match(await run(folder), /^[\w-]{64}\nrejected: false\n$/)
})

/** Runs `latchkey secret`, and returns its output. */
async function run (folder: string, ...flags: string[]): Promise<string> {
  const [program, ...args] = plainNode
  const { stdout, stderr } = await promisify(execFile)(program, [...args, ...flags, '--require', join(folder, 'spy.cjs'), join(folder, 'dist/cli.cjs'), 'secret'])
  return stdout + stderr
}

t.test('the build · Node accepts its code cache', async (t) => {
  const { folder } = copyBuild(t)
  t.match(await run(folder), /^[\w-]{64}\nrejected: false\n$/)
})

t.test('a code cache that is missing, is cut off, is damaged, is of other flags or is no cache → the programs are compiled as usual', async (t) => {
  const { folder, codeCache } = copyBuild(t)
  t.match(await run(folder, '--no-opt'), /^[\w-]{64}\nrejected: true\n$/)
  const whole = readFileSync(codeCache)
  const damaged = Buffer.from(whole).fill(0, whole.length / 2, whole.length / 2 + 4_096)
  for (const content of [whole.subarray(0, 100_000), damaged, 'no cache']) {
    writeFileSync(codeCache, content)
    t.match(await run(folder), /^[\w-]{64}\nrejected: undefined\n$/)
  }
  rmSync(codeCache)
  t.match(await run(folder), /^[\w-]{64}\nrejected: undefined\n$/)
})
