"""The ordinary day of an application on SQLAlchemy 2 with asyncpg, with its defaults."""

import asyncio
import os

from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

URL = os.environ["DAY_URL"].replace("postgres://", "postgresql+asyncpg://").split("?")[0]
TABLE = Table(os.environ["DAY_TABLE"], MetaData(), Column("n", Integer, primary_key=True), Column("x", String))


def engine(**options):
    return create_async_engine(URL, **options)


async def attempt(name, run):
    e = engine()
    try:
        await asyncio.wait_for(run(e), 20)
        print(name, "ok", flush=True)
    except Exception as fault:
        print(name, "failed", type(fault).__name__, " ".join(str(fault).split()), flush=True)
    finally:
        await e.dispose()


async def ping(e):
    async with e.connect() as c:
        assert (await c.execute(select(1))).scalar() == 1


async def query(e):
    async with e.begin() as c:
        await c.run_sync(TABLE.metadata.drop_all)
        await c.run_sync(TABLE.metadata.create_all)
        row = (await c.execute(text("select cast(:a as int) + 1, cast(:b as text)"), {"a": 41, "b": "it's"})).one()
        assert tuple(row) == (42, "it's")


async def transaction(e):
    async with AsyncSession(e) as session:
        await session.execute(insert(TABLE).values(n=1, x="tx"))
        await session.commit()
        await session.execute(insert(TABLE).values(n=2, x="tx"))
        await session.rollback()
        assert (await session.execute(select(func.count()).select_from(TABLE))).scalar() == 1


async def prepared(e):
    everyone = [await e.connect() for _ in range(3)]
    for i in range(40):
        for who, c in enumerate(everyone):
            sql = text(f"select cast(:i as int) * 10 + {who}")
            assert (await c.execute(sql, {"i": i})).scalar() == i * 10 + who
            assert (await c.execute(text("select cast(:w as text)"), {"w": str(who)})).scalar() == str(who)
            await c.commit()
    for c in everyone:
        await c.close()


async def ddl(e):
    async with e.connect() as c:
        for i in range(3):
            (await c.execute(select(TABLE).order_by(TABLE.c.n))).all()
            await c.commit()
            async with e.begin() as other:
                await other.execute(text(f"alter table {TABLE.name} add column c{i} int"))
        await c.execute(text(f"alter table {TABLE.name} drop column c0, drop column c1, drop column c2"))
        await c.commit()


async def expect(kind, awaited):
    try:
        await awaited
    except kind:
        return
    raise AssertionError("expected " + kind.__name__)


async def failing(e):
    async with e.connect() as c:
        for _ in range(3):
            await expect(IntegrityError, c.execute(insert(TABLE).values(n=1, x="again")))
            await c.rollback()
            await expect(ProgrammingError, c.execute(text("selec 1")))
            await c.rollback()
            assert (await c.execute(select(1))).scalar() == 1
            await c.commit()


async def retry(e):
    for n in range(3):
        try:
            async with e.connect() as c:
                c = await c.execution_options(isolation_level="SERIALIZABLE")
                async with c.begin():
                    (await c.execute(select(func.count()).select_from(TABLE))).scalar()
                    if n == 0:
                        async with e.begin() as other:
                            await other.execute(update(TABLE).where(TABLE.c.n == 1).values(x="other"))
                    await c.execute(update(TABLE).where(TABLE.c.n == 1).values(x="mine"))
            assert n > 0
            return
        except DBAPIError as fault:
            assert fault.orig.sqlstate == "40001", fault
    raise AssertionError("never succeeded")


async def pipeline(e):
    async with e.begin() as c:
        await c.execute(insert(TABLE), [{"n": 3000 + i, "x": "many"} for i in range(500)])
    async with e.connect() as c:
        assert (await c.execute(select(func.count()).select_from(TABLE).where(TABLE.c.n.between(3000, 3999)))).scalar() == 500


async def cursor(e):
    async with e.connect() as c:
        total = 0
        async with c.stream(text("select n from generate_series(1, 1000) n"), execution_options={"yield_per": 100}) as rows:
            async for _ in rows:
                total += 1
        assert total == 1000


async def settings(_):
    zones = ["Asia/Tokyo", "Europe/Paris", "UTC"]
    engines = [engine(connect_args={"server_settings": {"timezone": zone}}) for zone in zones]
    for _ in range(10):
        for e, zone in zip(engines, zones):
            async with e.connect() as c:
                assert (await c.execute(text("show timezone"))).scalar() == zone
    for e in engines:
        await e.dispose()


async def cancel(e):
    async with e.connect() as c:
        try:
            await asyncio.wait_for(c.execute(text("select pg_sleep(15)")), 0.5)
            raise AssertionError("not canceled")
        except (asyncio.TimeoutError, asyncio.CancelledError):
            pass
    await ping(e)


async def listen(e):
    async with e.connect() as c:
        heard = asyncio.get_running_loop().create_future()
        driver = (await c.get_raw_connection()).driver_connection
        await driver.add_listener(TABLE.name, lambda _c, _pid, _channel, payload: heard.set_result(payload))
        async with e.begin() as other:
            await other.execute(text("select pg_notify(:c, 'hello')"), {"c": TABLE.name})
        try:
            assert await asyncio.wait_for(heard, 3) == "hello"
        finally:
            driver.terminate()
            await c.invalidate()


async def reconnect(_):
    e = engine(pool_pre_ping=True, pool_size=1)
    async with e.connect() as c:
        await expect(DBAPIError, c.execute(text("select pg_terminate_backend(pg_backend_pid())")))
    await ping(e)
    await e.dispose()


async def crowd(_):
    e = engine(pool_size=20)

    async def one(who):
        for i in range(20):
            async with AsyncSession(e) as session, session.begin():
                await session.execute(insert(TABLE).values(n=10000 + who * 100 + i, x="crowd"))
                n = (await session.execute(select(func.count()).select_from(TABLE).where(TABLE.c.n.between(10000 + who * 100, 10099 + who * 100)))).scalar()
                assert n == i + 1

    await asyncio.gather(*(one(who) for who in range(20)))
    await e.dispose()


async def main():
    await attempt("connect", ping)
    await attempt("query", query)
    await attempt("transaction", transaction)
    await attempt("prepared", prepared)
    await attempt("ddl", ddl)
    await attempt("error", failing)
    await attempt("retry", retry)
    print("copy none SQLAlchemy has no COPY of its own")
    await attempt("pipeline", pipeline)
    await attempt("cursor", cursor)
    await attempt("settings", settings)
    await attempt("cancel", cancel)
    await attempt("listen", listen)
    await attempt("reconnect", reconnect)
    await attempt("crowd", crowd)


asyncio.run(main())
