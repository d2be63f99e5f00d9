// The ordinary day of an application on postgres.js, with its defaults: all statements are prepared and pipelined.
import assert from 'node:assert'
import { pipeline as stream } from 'node:stream/promises'
import { Readable } from 'node:stream'
import postgres from 'postgres'

const url = process.env.DAY_URL.split('?')[0]
const table = process.env.DAY_TABLE

const timeout = ms => new Promise((resolve, reject) => setTimeout(reject, ms, new Error(`nothing for ${ms} ms`)).unref())
const connect = options => postgres(url, { max: 1, onnotice: () => {}, ...options })

async function attempt (name, run, options) {
  const sql = connect(options)
  const t = sql(table)
  try {
    await Promise.race([run(sql, t), timeout(20000)])
    console.log(name, 'ok')
  } catch (e) {
    console.log(name, 'failed', String(e.message).replaceAll('\n', ' '))
  }
  await Promise.race([sql.end({ timeout: 1 }).catch(() => {}), timeout(3000).catch(() => {})])
}

const failsWith = (code, promise) => assert.rejects(Promise.resolve(promise), e => e.code === code)

await attempt('connect', sql => sql`select 1`)

await attempt('query', async (sql, t) => {
  await sql`drop table if exists ${t}`
  await sql`create table ${t} (n int primary key, x text)`
  const [row] = await sql`select ${41}::int + 1 as n, ${"it's"}::text as x, null as z`
  assert.deepEqual({ ...row }, { n: 42, x: "it's", z: null })
})

await attempt('transaction', async (sql, t) => {
  await sql.begin(tx => tx`insert into ${t} values (${1}, 'tx')`)
  await assert.rejects(sql.begin(async tx => {
    await tx`insert into ${t} values (${2}, 'tx')`
    throw new Error('rolled back')
  }), /rolled back/)
  assert.equal((await sql`select count(*)::int as n from ${t}`)[0].n, 1)
})

await attempt('prepared', async () => {
  const all = [connect(), connect(), connect()]
  for (let i = 0; i < 40; i++) {
    for (const [who, sql] of all.entries()) {
      assert.equal((await sql.unsafe(`select $1::int * 10 + ${who} as n`, [i], { prepare: true }))[0].n, i * 10 + who)
      assert.equal((await sql`select ${String(who)}::text as x`)[0].x, String(who))
    }
  }
  for (const sql of all) await sql.end({ timeout: 1 })
})

await attempt('ddl', async (sql, t) => {
  const other = connect()
  for (let i = 0; i < 3; i++) {
    await sql`select n from ${t} order by n`
    await other.unsafe(`alter table ${table} add column c${i} int`)
  }
  await other.unsafe(`alter table ${table} drop column c0, drop column c1, drop column c2`)
  await other.end({ timeout: 1 })
})

await attempt('error', async (sql, t) => {
  for (let i = 0; i < 3; i++) {
    await failsWith('23505', sql`insert into ${t} values (${1}, 'again')`)
    await failsWith('42601', sql`selec ${1}`)
    await sql`select 1`
  }
})

await attempt('retry', async (sql, t) => {
  const other = connect()
  for (let n = 0; n < 3; n++) {
    try {
      await sql.begin('isolation level serializable', async tx => {
        await tx`select count(*) from ${t}`
        if (n === 0) await other`update ${t} set x = 'other' where n = 1`
        await tx`update ${t} set x = ${'mine'} where n = 1`
      })
      assert(n > 0)
      await other.end({ timeout: 1 })
      return
    } catch (e) {
      if (e.code !== '40001') throw e
    }
  }
  throw new Error('never succeeded')
})

await attempt('copy', async (sql, t) => {
  const lines = Array.from({ length: 2000 }, (_, i) => `${100 + i}\tcopied\n`)
  await stream(Readable.from(lines), await sql`copy ${t} (n, x) from stdin`.writable())
  let out = ''
  for await (const chunk of await sql`copy (select n from ${t} where n >= 100) to stdout`.readable()) out += chunk
  assert.equal(out.split('\n').length - 1, 2000)
  await sql`select 1`
})

await attempt('pipeline', async sql => {
  const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => sql`select ${i}::int as n`))
  answers.forEach((a, i) => assert.equal(a[0].n, i))
  const settled = await Promise.allSettled([sql`select 1`, sql`selec`, sql`select 2`])
  assert.deepEqual(settled.map(s => s.status), ['fulfilled', 'rejected', 'fulfilled'])
})

await attempt('cursor', async sql => {
  let total = 0
  await sql`select n from generate_series(1, 1000) n`.cursor(100, rows => { total += rows.length })
  assert.equal(total, 1000)
})

await attempt('settings', async () => {
  const zones = ['Asia/Tokyo', 'Europe/Paris', 'UTC']
  const all = zones.map(TimeZone => connect({ connection: { TimeZone } }))
  for (let n = 0; n < 10; n++) {
    for (const [i, sql] of all.entries()) assert.equal((await sql`show timezone`)[0].TimeZone, zones[i])
  }
  for (const sql of all) await sql.end({ timeout: 1 })
})

await attempt('cancel', async sql => {
  const query = sql`select pg_sleep(15)`
  setTimeout(() => query.cancel(), 500)
  await failsWith('57014', query)
  await sql`select 1`
})

await attempt('listen', async sql => {
  let hear
  const heard = new Promise(resolve => { hear = resolve })
  await sql.listen(table, hear)
  await sql.notify(table, 'hello')
  assert.equal(await Promise.race([heard, timeout(3000)]), 'hello')
})

await attempt('reconnect', async sql => {
  await assert.rejects(Promise.resolve(sql`select pg_terminate_backend(pg_backend_pid())`))
  for (let tries = 1; ; tries++) { // the next may still be on the connection that was terminated
    const rows = await sql`select ${1}::int as n`.catch(() => [])
    if (rows.length === 1 && rows[0].n === 1) return
    assert(tries < 5)
  }
})

await attempt('crowd', async (sql, t) => {
  await Promise.all(Array.from({ length: 20 }, async (_, who) => {
    for (let i = 0; i < 20; i++) {
      await sql.begin(async tx => {
        await tx`insert into ${t} values (${10000 + who * 100 + i}, 'crowd')`
        const [{ n }] = await tx`select count(*)::int as n from ${t} where n between ${10000 + who * 100} and ${10099 + who * 100}`
        assert.equal(n, i + 1)
      })
    }
  }))
}, { max: 20 })
process.exit(0)
