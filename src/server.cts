import './standalone/thread-pool.cjs'
import programs = require('./standalone/load-programs.cjs')

programs.load().startServer()
