#!/usr/bin/env node
import './standalone/thread-pool.cjs'
import programs = require('./standalone/load-programs.cjs')

programs.load().runCommand()
