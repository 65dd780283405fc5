// The list of users with a million of them, next to one with a thousand. Run by `npm run test:slow`.
import t from 'tap'
import { servicesOf } from '../../src/services.js'
import { asUser, type TestUser } from '../../src/testing.js'
import { databases, openStore, type TestDatabase } from '../databases.js'
import { build } from '../helper.js'

/** How often each request is sent to each server; the medians are compared. */
const repetitions = 400
/** How much longer it may take with a million users. */
const ratioMax = 1.5

const median = (values: number[]) => Number(values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)])

/** Inserts accounts by one statement; 3 of them have the prefix `zebra`, 5 are disabled, 5 have the role `rare`, all have the role `common`. */
async function seed (database: TestDatabase, url: string, count: number): Promise<void> {
  const store = await openStore(url, { statementTimeoutMs: 600_000 })
  try {
    const [time, disabledAt] = database.name === 'SQLite' ? ['0', `case when i % ${count / 5} = 0 then 0 end`] : ['now()', `case when i % ${count / 5} = 0 then now() end`]
    const name = "case when i <= 3 then 'zebra' || i else 'u' || substr('0000000' || i, -7 + length('0000000' || i) + 1) end"
    await database.execute(store, `insert into users (username, username_key, email, email_key, password_hash, created_at, updated_at, disabled_at) with recursive n(i) as (select 1 union all select i + 1 from n where i < ${count}) select ${name}, ${name}, 'u' || i || '@example.com', 'u' || i || '@example.com', '', ${time}, ${time}, ${disabledAt} from n`)
    await database.execute(store, "insert into roles values ('rare', 'x'), ('common', 'x')")
    await database.execute(store, "insert into user_roles select id, 'common' from users")
    await database.execute(store, `insert into user_roles select id, 'rare' from users where id % ${count / 5} = 0`)
    // PostgreSQL does it by itself, sooner or later; SQLite never does.
    if (database.name === 'PostgreSQL') await database.execute(store, 'analyze')
  } finally {
    await store.close()
  }
}

for (const database of databases) {
  t.test(`GET /api/v1/users · ${database.name}, a million users → at most ${ratioMax} times as long as with a thousand, by indexes`, { timeout: 570_000 }, async (t) => {
    const users: TestUser[] = []
    let plansOf: (filter: object) => Promise<string[]> = async () => []
    for (const count of [1_000, 1_000_000]) {
      const DATABASE_URL = await database.create(t, { isShared: true })
      await seed(database, DATABASE_URL, count)
      const app = await build(t, { DATABASE_URL })
      users.push(await asUser(app, 'root', { roles: ['admin'] }))
      const { store, users: accounts } = servicesOf(app)
      t.equal(await accounts.count(), count + 1)
      plansOf = (filter) => database.explain(store, () => accounts.listByName(filter, 51))
    }

    const middle = Buffer.from('u0000500').toString('base64url')
    for (const [query, size, filter] of [
      ['', 50, {}],
      ['?search=zebra', 3, { search: 'zebra' }],
      [`?cursor=${middle}`, 50, { afterKey: 'u0000500' }],
      ['?email=u7@example.com', 1, { email: 'u7@example.com' }],
      ['?disabled=true', 5, { isDisabled: true }],
      ['?role=rare', 5, { role: 'rare' }]
    ] as const) {
      const times = users.map(() => new Array<number>())
      for (let i = 0; i < repetitions; i++) {
        for (const [j, { inject }] of users.entries()) {
          const start = performance.now()
          const response = await inject(`/api/v1/users${query}`)
          times[j]?.push(performance.now() - start)
          if (i === 0) t.equal(response.json().users.length, size, query)
        }
      }
      const [few = NaN, many = NaN] = times.map(median)
      t.ok(many <= ratioMax * few, `${query}: ${few.toFixed(2)} ms with a thousand, ${many.toFixed(2)} ms with a million`)
      t.comment(`${database.name} ${query}: ${few.toFixed(2)} ms, ${many.toFixed(2)} ms`)
      const plan = (await plansOf(filter)).join('\n')
      t.notMatch(plan, /Seq Scan|SCAN (?:users|user_roles)"/, plan)
    }

    const [, many] = users
    t.equal((await many?.inject('/api/v1/users?role=common'))?.json().users.length, 50)
    const plan = String((await plansOf({ role: 'common' })).at(-2))
    t.match(plan, 'users_username_key_unique')
    t.notMatch(plan, /Sort|TEMP B-TREE|Seq Scan/, 'a role that everybody has sorts nobody')
  })
}
