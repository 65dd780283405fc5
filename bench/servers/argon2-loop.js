// Verifies one password again and again, some at once, for some seconds: what the hash costs
// without a server around it. Prints how many a second.
import { verify } from '@node-rs/argon2'

const { HASH, PASSWORD, CONCURRENCY, SECONDS } = process.env

let count = 0
let last = 0
const begin = performance.now()
const end = begin + Number(SECONDS) * 1_000

await Promise.all(Array.from({ length: Number(CONCURRENCY) }, async () => {
  while (performance.now() < end) {
    if (!(await verify(HASH, PASSWORD))) throw new Error('the password is not the one of the hash')
    count++
    last = performance.now()
  }
}))
console.log(count / (last - begin) * 1_000)
