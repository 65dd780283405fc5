// Verifies one password in a loop, some in parallel, for some seconds: the cost of the hash
// without a server. Prints the hashes per second.
import { verify } from '@node-rs/argon2'

const { HASH, PASSWORD, CONCURRENCY, SECONDS } = process.env

let count = 0
let last = 0
const begin = performance.now()
const end = begin + Number(SECONDS) * 1_000

await Promise.all(Array.from({ length: Number(CONCURRENCY) }, async () => {
  while (performance.now() < end) {
    if (!(await verify(HASH, PASSWORD))) throw new Error('the password does not match the hash')
    count++
    last = performance.now()
  }
}))
console.log(count / (last - begin) * 1_000)
