"""The ordinary day of an application on asyncpg, with its default cache of prepared statements."""

import asyncio
import os

import asyncpg

URL, TABLE = os.environ["DAY_URL"], os.environ["DAY_TABLE"]


def connect(**options):
    return asyncpg.connect(URL, timeout=10, **options)


async def attempt(name, run):
    try:
        await asyncio.wait_for(run(), 20)
        print(name, "ok", flush=True)
    except Exception as e:
        print(name, "failed", type(e).__name__, " ".join(str(e).split()), flush=True)


async def expect(kind, awaited):
    try:
        await awaited
    except kind:
        return
    raise AssertionError("expected " + str(kind))


def connected(run):
    async def wrapped():
        c = await connect()
        try:
            await run(c)
        finally:
            await c.close(timeout=5)

    return wrapped


async def query(c):
    await c.execute(f"drop table if exists {TABLE}; create table {TABLE} (n int primary key, x text)")
    row = await c.fetchrow("select $1::int + 1, $2::text, null", 41, "it's")
    assert tuple(row) == (42, "it's", None)


async def transaction(c):
    async with c.transaction():
        await c.execute(f"insert into {TABLE} values ($1, 'tx')", 1)
    tx = c.transaction()
    await tx.start()
    await c.execute(f"insert into {TABLE} values ($1, 'tx')", 2)
    await tx.rollback()
    assert await c.fetchval(f"select count(*) from {TABLE}") == 1


async def prepared():
    everyone = [await connect() for _ in range(3)]
    kept = [await c.prepare(f"select $1::int + 100 * {who}") for who, c in enumerate(everyone)]
    for i in range(40):
        for who, c in enumerate(everyone):
            assert await c.fetchval(f"select $1::int * 10 + {who}", i) == i * 10 + who
            assert await c.fetchval("select $1::text", str(who)) == str(who)
            assert await kept[who].fetchval(i) == i + 100 * who
    for c in everyone:
        await c.close()


async def ddl(c):
    other = await connect()
    for i in range(3):
        await c.fetch(f"select * from {TABLE} order by n limit 1")
        await other.execute(f"alter table {TABLE} add column c{i} int")
    await other.execute(f"alter table {TABLE} drop column c0, drop column c1, drop column c2")
    await other.close()


async def failing(c):
    for _ in range(3):
        await expect(asyncpg.UniqueViolationError, c.execute(f"insert into {TABLE} values ($1, 'again')", 1))
        await expect(asyncpg.PostgresSyntaxError, c.fetch("selec $1", 1))
        assert await c.fetchval("select 1") == 1


async def retry(c):
    other = await connect()
    for n in range(3):
        try:
            async with c.transaction(isolation="serializable"):
                await c.fetchval(f"select count(*) from {TABLE}")
                if n == 0:
                    await other.execute(f"update {TABLE} set x = 'other' where n = 1")
                await c.execute(f"update {TABLE} set x = $1 where n = 1", "mine")
            assert n > 0
            await other.close()
            return
        except asyncpg.SerializationError:
            pass
    raise AssertionError("never succeeded")


async def copy(c):
    assert await c.copy_records_to_table(TABLE, records=[(100 + i, "y" * 50) for i in range(2000)], columns=["n", "x"]) == "COPY 2000"
    lines = bytearray()

    async def sink(data):
        lines.extend(data)

    await c.copy_from_query(f"select n from {TABLE} where n >= $1", 100, output=sink)
    assert lines.count(b"\n") == 2000
    await expect(asyncpg.UniqueViolationError, c.copy_records_to_table(TABLE, records=[(100, "again")], columns=["n", "x"]))
    assert await c.fetchval("select 1") == 1


async def pipeline(c):
    await c.executemany(f"insert into {TABLE} values ($1, $2)", [(3000 + i, "many") for i in range(200)])
    assert await c.fetchval(f"select count(*) from {TABLE} where n between 3000 and 3999") == 200
    await expect(asyncpg.UniqueViolationError, c.executemany(f"insert into {TABLE} values ($1, $2)", [(5000, "a"), (5001, "b"), (5000, "c")]))
    assert await c.fetchval(f"select count(*) from {TABLE} where n >= 5000") == 0


async def cursor(c):
    async with c.transaction():
        total = 0
        async for _ in c.cursor("select n from generate_series(1, $1) n", 1000, prefetch=100):
            total += 1
        assert total == 1000


async def settings():
    zones = ["Asia/Tokyo", "Europe/Paris", "UTC"]
    everyone = [await connect() for _ in zones]
    for c, zone in zip(everyone, zones):
        await c.execute(f"set timezone to '{zone}'")
    for _ in range(10):
        for c, zone in zip(everyone, zones):
            assert await c.fetchval("show timezone") == zone
    for c in everyone:
        await c.close()


async def cancel(c):
    await expect(asyncio.TimeoutError, c.fetch("select pg_sleep(15)", timeout=0.5))
    assert await c.fetchval("select 1") == 1


async def listen(c):
    heard = asyncio.get_running_loop().create_future()
    await c.add_listener(TABLE, lambda _c, _pid, _channel, payload: heard.set_result(payload))
    other = await connect()
    await other.execute("select pg_notify($1, 'hello')", TABLE)
    await other.close()
    assert await asyncio.wait_for(heard, 3) == "hello"


async def reconnect():
    async with asyncpg.create_pool(URL, min_size=1, max_size=1) as pool:
        await expect((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError), pool.execute("select pg_terminate_backend(pg_backend_pid())"))
        assert await pool.fetchval("select $1::int", 1) == 1


async def crowd():
    async with asyncpg.create_pool(URL, min_size=20, max_size=20) as pool:

        async def one(who):
            for i in range(20):
                async with pool.acquire() as c, c.transaction():
                    await c.execute(f"insert into {TABLE} values ($1, $2)", 10000 + who * 100 + i, "crowd")
                    n = await c.fetchval(f"select count(*) from {TABLE} where n between $1 and $2", 10000 + who * 100, 10099 + who * 100)
                    assert n == i + 1

        await asyncio.gather(*(one(who) for who in range(20)))


async def main():
    async def ping(c):
        assert await c.fetchval("select 1") == 1

    await attempt("connect", connected(ping))
    await attempt("query", connected(query))
    await attempt("transaction", connected(transaction))
    await attempt("prepared", prepared)
    await attempt("ddl", connected(ddl))
    await attempt("error", connected(failing))
    await attempt("retry", connected(retry))
    await attempt("copy", connected(copy))
    await attempt("pipeline", connected(pipeline))
    await attempt("cursor", connected(cursor))
    await attempt("settings", settings)
    await attempt("cancel", connected(cancel))
    await attempt("listen", connected(listen))
    await attempt("reconnect", reconnect)
    await attempt("crowd", crowd)


asyncio.run(main())
