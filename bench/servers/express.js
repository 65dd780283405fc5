// The same guard on Express, jsonwebtoken and better-sqlite3.
import Database from 'better-sqlite3'
import express from 'express'
import jwt from 'jsonwebtoken'

const db = new Database(process.env.DATABASE_FILE)
db.pragma('journal_mode = WAL')
const findUser = db.prepare('SELECT id, username, email, created_at FROM users WHERE id = ?')

function authenticate (req, res, next) {
  let claims
  try {
    claims = jwt.verify(req.headers.authorization?.split(' ')[1], process.env.SECRET_KEY)
  } catch {
    return res.sendStatus(401)
  }
  req.user = findUser.get(claims.user_id)
  if (req.user === undefined) return res.sendStatus(401)
  next()
}

const app = express()
app.get('/', (req, res) => { res.type('text/plain').send('Hello, World!') })
app.get('/need_login', authenticate, (req, res) => {
  res.type('text/plain').send('if you see this, that means your token is valid')
})
app.listen(Number(process.env.PORT), process.env.HOST)
