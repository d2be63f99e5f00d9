// The ordinary day of an application on node-postgres, its statements named, which prepares them on the server.
import assert from 'node:assert'
import { once } from 'node:events'
import { pipeline as stream } from 'node:stream/promises'
import { Readable } from 'node:stream'
import pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import Cursor from 'pg-cursor'

const url = process.env.DAY_URL
const table = process.env.DAY_TABLE

async function connect () {
  const c = new pg.Client({ connectionString: url })
  c.on('error', () => {}) // a broken connection shows in the query that uses it
  await c.connect()
  return c
}

const timeout = ms => new Promise((resolve, reject) => setTimeout(reject, ms, new Error(`nothing for ${ms} ms`)).unref())

async function attempt (name, run) {
  const open = []
  const client = async () => { const c = await connect(); open.push(c); return c }
  try {
    await Promise.race([run(client), timeout(20000)])
    console.log(name, 'ok')
  } catch (e) {
    console.log(name, 'failed', String(e.message).replaceAll('\n', ' '))
  }
  for (const c of open) await Promise.race([c.end().catch(() => {}), timeout(1000).catch(() => {})])
}

const failsWith = (code, promise) => assert.rejects(promise, e => e.code === code)

await attempt('connect', async client => { await client() })

await attempt('query', async client => {
  const c = await client()
  await c.query(`drop table if exists ${table}; create table ${table} (n int primary key, x text)`)
  const { rows } = await c.query('select $1::int + 1 as n, $2::text as x, null as z', [41, "it's"])
  assert.deepEqual(rows, [{ n: 42, x: "it's", z: null }])
})

await attempt('transaction', async client => {
  const c = await client()
  for (const [n, end] of [[1, 'commit'], [2, 'rollback']]) {
    await c.query('begin')
    await c.query(`insert into ${table} values ($1, 'tx')`, [n])
    await c.query(end)
  }
  assert.equal((await c.query(`select count(*)::int as n from ${table}`)).rows[0].n, 1)
})

await attempt('prepared', async client => {
  const all = [await client(), await client(), await client()]
  for (let i = 0; i < 40; i++) {
    for (let who = 0; who < 3; who++) {
      const a = await all[who].query({ name: 'same-name', text: `select $1::int * 10 + ${who} as n`, values: [i] })
      assert.equal(a.rows[0].n, i * 10 + who)
      const b = await all[who].query({ name: 'same-text', text: 'select $1::text as x', values: [String(who)] })
      assert.equal(b.rows[0].x, String(who))
    }
  }
})

await attempt('ddl', async client => {
  const [c, other] = [await client(), await client()]
  for (let i = 0; i < 3; i++) {
    await c.query({ name: 'ddl', text: `select n from ${table} order by n` })
    await other.query(`alter table ${table} add column c${i} int`)
  }
  await other.query(`alter table ${table} drop column c0, drop column c1, drop column c2`)
})

await attempt('error', async client => {
  const c = await client()
  for (let i = 0; i < 3; i++) {
    await failsWith('23505', c.query({ name: 'ins', text: `insert into ${table} values ($1, 'again')`, values: [1] }))
    await failsWith('42601', c.query('selec $1', [1]))
    await c.query('select 1')
  }
})

await attempt('retry', async client => {
  const [c, other] = [await client(), await client()]
  for (let n = 0; n < 3; n++) {
    await c.query('begin isolation level serializable')
    try {
      await c.query(`select count(*) from ${table}`)
      if (n === 0) await other.query(`update ${table} set x = 'other' where n = 1`)
      await c.query(`update ${table} set x = $1 where n = 1`, ['mine'])
      await c.query('commit')
      assert(n > 0)
      return
    } catch (e) {
      if (e.code !== '40001') throw e
      await c.query('rollback')
    }
  }
  throw new Error('never succeeded')
})

await attempt('copy', async client => {
  const c = await client()
  const lines = Array.from({ length: 2000 }, (_, i) => `${100 + i}\tcopied\n`)
  await stream(Readable.from(lines), c.query(copyFrom(`copy ${table} (n, x) from stdin`)))
  let out = ''
  for await (const chunk of c.query(copyTo(`copy (select n from ${table} where n >= 100) to stdout`))) out += chunk
  assert.equal(out.split('\n').length - 1, 2000)
  await failsWith('23505', stream(Readable.from(['100\tagain\n']), c.query(copyFrom(`copy ${table} (n, x) from stdin`))))
  await c.query('select 1')
})

await attempt('pipeline', async client => {
  const c = new pg.Client({ connectionString: url, pipelining: true })
  c.on('error', () => {})
  await c.connect()
  const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => c.query('select $1::int as n', [i])))
  answers.forEach((a, i) => assert.equal(a.rows[0].n, i))
  const settled = await Promise.allSettled([c.query('select 1'), c.query('selec'), c.query('select 2')])
  assert.deepEqual(settled.map(s => s.status), ['fulfilled', 'rejected', 'fulfilled'])
  await c.end()
})

await attempt('cursor', async client => {
  const c = await client()
  await c.query('begin')
  const cursor = c.query(new Cursor('select n from generate_series(1, $1) n', [1000]))
  let total = 0
  for (;;) {
    const rows = await cursor.read(100)
    if (rows.length === 0) break
    total += rows.length
  }
  await cursor.close()
  await c.query('commit')
  assert.equal(total, 1000)
})

await attempt('settings', async client => {
  const zones = ['Asia/Tokyo', 'Europe/Paris', 'UTC']
  const all = [await client(), await client(), await client()]
  for (const [i, c] of all.entries()) await c.query(`set timezone to '${zones[i]}'`)
  for (let n = 0; n < 10; n++) {
    for (const [i, c] of all.entries()) assert.equal((await c.query('show timezone')).rows[0].TimeZone, zones[i])
  }
})

await attempt('cancel', async client => {
  const c = await client()
  const slow = failsWith('57014', c.query('select pg_sleep(15)'))
  await new Promise(resolve => setTimeout(resolve, 500))
  const { host, port, processID, secretKey } = c // node-postgres has no call for it: its own Connection sends the packet
  const canceler = new pg.Connection()
  canceler.connect(port, host)
  canceler.on('error', () => {})
  canceler.on('connect', () => canceler.cancel(processID, secretKey))
  await slow
  await c.query('select 1')
})

await attempt('listen', async client => {
  const [c, other] = [await client(), await client()]
  await c.query(`listen ${table}`)
  const heard = once(c, 'notification')
  await other.query('select pg_notify($1, $2)', [table, 'hello'])
  assert.equal((await Promise.race([heard, timeout(3000)]))[0].payload, 'hello')
})

await attempt('reconnect', async () => {
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  pool.on('error', () => {})
  await assert.rejects(pool.query('select pg_terminate_backend(pg_backend_pid())'))
  assert.equal((await pool.query('select $1::int as n', [1])).rows[0].n, 1)
  await pool.end()
})

await attempt('crowd', async () => {
  const pool = new pg.Pool({ connectionString: url, max: 20 })
  pool.on('error', () => {})
  await Promise.all(Array.from({ length: 20 }, async (_, who) => {
    for (let i = 0; i < 20; i++) {
      const c = await pool.connect()
      try {
        await c.query('begin')
        await c.query({ name: 'crowd-in', text: `insert into ${table} values ($1, $2)`, values: [10000 + who * 100 + i, 'crowd'] })
        const { rows } = await c.query({
          name: 'crowd-out', text: `select count(*)::int as n from ${table} where n between $1 and $2`, values: [10000 + who * 100, 10099 + who * 100]
        })
        assert.equal(rows[0].n, i + 1)
        await c.query('commit')
      } finally {
        c.release()
      }
    }
  }))
  await pool.end()
})
process.exit(0)
