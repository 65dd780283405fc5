import crypto = require('node:crypto')
import fs = require('node:fs')
import module = require('node:module')
import path = require('node:path')
import vm = require('node:vm')

type Programs = typeof import('../programs.js')

/** The file name of the bundle, with a hash of its content: the build fills it in. */
declare const bundleName: string

const bundle = path.join(__dirname, '..', bundleName)

/**
 * The code cache of the bundle: what V8 compiled from it in the build. Without it, compiling takes
 * a third of the start. V8 refuses a cache that another version wrote, or one with other flags,
 * but of the source it compares only the length: hence the hash in the name. Nor does it look for
 * damage, which ends the process: hence the digest at the beginning of the file.
 * https://v8.dev/blog/code-caching-for-devs
 */
const codeCache = `${bundle}.${process.arch}.cache`

const digestBytes = 32
const digestOf = (data: Uint8Array) => crypto.createHash('sha256').update(data).digest()

function readCodeCache (): Buffer | undefined {
  try {
    const file = fs.readFileSync(codeCache)
    const data = file.subarray(digestBytes)
    return digestOf(data).equals(file.subarray(0, digestBytes)) ? data : undefined
  } catch {
    return undefined
  }
}

function writeCodeCache (data: Buffer): void {
  const unfinished = `${codeCache}.${process.pid}`
  fs.writeFileSync(unfinished, Buffer.concat([digestOf(data), data]))
  fs.renameSync(unfinished, codeCache)
}

function run (script: vm.Script): Programs {
  const bundled: { exports: unknown } = { exports: {} }
  script.runInThisContext()(bundled.exports, require, bundled, bundle, __dirname)
  return bundled.exports as Programs
}

function compile (cachedData?: Buffer): vm.Script {
  return new vm.Script(module.wrap(fs.readFileSync(bundle, 'latin1')), {
    filename: bundle,
    cachedData
  })
}

/** Loads the bundle as `require` does, but from its code cache if there is one. */
function load (): Programs {
  return run(compile(readCodeCache()))
}

/** Loads the bundle, and writes its code cache when the process ends: functions that ran until then are in it. */
function recordCodeCache (): Programs {
  const script = compile()
  process.on('exit', () => writeCodeCache(script.createCachedData()))
  return run(script)
}

export = { load, recordCodeCache }
