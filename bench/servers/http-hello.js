// node:http without a framework: https://nodejs.org/api/http.html
import { createServer } from 'node:http'

const text = 'if you see this, that means your token is valid'

createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
  response.end(text)
}).listen(Number(process.env.PORT), process.env.HOST)
