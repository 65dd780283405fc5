import './standalone/thread-pool.cjs'

import('./server.js')
