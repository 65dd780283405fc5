import os = require('node:os')

// Passwords are hashed on libuv's thread pool: one thread for each processor, and one for files
// and name lookups. libuv reads the size when the pool starts, and loading the first ES module
// starts it: hence CommonJS. https://docs.libuv.org/en/v1.x/threadpool.html
process.env.UV_THREADPOOL_SIZE ||= String(Math.max(4, os.availableParallelism() + 1))
