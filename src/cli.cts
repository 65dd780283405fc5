#!/usr/bin/env node
import './standalone/thread-pool.cjs'

import('./cli.js')
