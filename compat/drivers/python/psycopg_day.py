"""The ordinary day of an application on psycopg 3, with server-side prepared statements from the first use (prepare_threshold=0)."""

import os
import threading

import psycopg
from psycopg import errors

URL, TABLE = os.environ["DAY_URL"], os.environ["DAY_TABLE"]


def connect(**options):
    return psycopg.connect(URL, prepare_threshold=0, **options)


def attempt(name, run):
    try:
        run()
        print(name, "ok", flush=True)
    except Exception as e:
        print(name, "failed", type(e).__name__, " ".join(str(e).split()), flush=True)


def expect(kind, run):
    try:
        run()
    except kind:
        return
    raise AssertionError("expected " + kind.__name__)


def query():
    with connect() as c:
        c.execute(f"drop table if exists {TABLE}")
        c.execute(f"create table {TABLE} (n int primary key, x text)")
        assert c.execute("select %s::int + 1, %s::text, null", (41, "it's")).fetchone() == (42, "it's", None)


def transaction():
    with connect() as c:
        c.execute(f"insert into {TABLE} values (%s, 'tx')", (1,))
        c.commit()
        c.execute(f"insert into {TABLE} values (%s, 'tx')", (2,))
        c.rollback()
        with c.transaction(force_rollback=True):
            c.execute(f"insert into {TABLE} values (%s, 'tx')", (3,))
        assert c.execute(f"select count(*) from {TABLE}").fetchone() == (1,)


def prepared():
    everyone = [connect(autocommit=True) for _ in range(3)]
    for i in range(40):
        for who, c in enumerate(everyone):
            assert c.execute(f"select %s::int * 10 + {who}", (i,)).fetchone() == (i * 10 + who,)
            assert c.execute("select %s::text", (str(who),)).fetchone() == (str(who),)
    for c in everyone:
        c.close()


def ddl():
    with connect(autocommit=True) as c, connect(autocommit=True) as other:
        for i in range(3):
            c.execute(f"select n from {TABLE} order by n").fetchall()
            other.execute(f"alter table {TABLE} add column c{i} int")
        other.execute(f"alter table {TABLE} drop column c0, drop column c1, drop column c2")


def failing():
    with connect(autocommit=True) as c:
        for _ in range(3):
            expect(errors.UniqueViolation, lambda: c.execute(f"insert into {TABLE} values (%s, 'again')", (1,)))
            expect(errors.SyntaxError, lambda: c.execute("selec %s", (1,)))
            assert c.execute("select 1").fetchone() == (1,)


def retry():
    with connect() as c, connect(autocommit=True) as other:
        c.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        for n in range(3):
            try:
                with c.transaction():
                    c.execute(f"select count(*) from {TABLE}").fetchone()
                    if n == 0:
                        other.execute(f"update {TABLE} set x = 'other' where n = 1")
                    c.execute(f"update {TABLE} set x = %s where n = 1", ("mine",))
                assert n > 0
                return
            except errors.SerializationFailure:
                pass
        raise AssertionError("never succeeded")


def copy():
    with connect() as c:
        with c.cursor().copy(f"copy {TABLE} (n, x) from stdin") as out:
            for i in range(2000):
                out.write_row((100 + i, "y" * 50))
        c.commit()
        with c.cursor().copy(f"copy (select n from {TABLE} where n >= 100) to stdout") as rows:
            assert sum(1 for _ in rows.rows()) == 2000

        def again():
            with c.cursor().copy(f"copy {TABLE} (n, x) from stdin") as out:
                out.write_row((100, "again"))

        expect(errors.UniqueViolation, again)
        c.rollback()
        assert c.execute("select 1").fetchone() == (1,)


def pipeline():
    with connect(autocommit=True) as c:
        for _ in range(3):
            with c.pipeline():
                cursors = [c.execute("select %s::int", (i,)) for i in range(40)]
                assert [x.fetchone()[0] for x in cursors] == list(range(40))

        def bad():
            with c.pipeline():
                c.execute(f"insert into {TABLE} values (5000, 'a')")
                c.execute(f"insert into {TABLE} values (5000, 'b')")

        expect(errors.UniqueViolation, bad)
        assert c.execute(f"select count(*) from {TABLE} where n = 5000").fetchone() == (0,)


def cursor():
    with connect() as c, c.cursor(name="cur") as cur:
        cur.itersize = 100
        cur.execute("select n from generate_series(1, 1000) n")
        assert sum(1 for _ in cur) == 1000


def settings():
    zones = ["Asia/Tokyo", "Europe/Paris", "UTC"]
    everyone = [connect(autocommit=True) for _ in zones]
    for c, zone in zip(everyone, zones):
        c.execute(f"set timezone to '{zone}'")
    for _ in range(10):
        for c, zone in zip(everyone, zones):
            assert c.execute("show timezone").fetchone() == (zone,)
    for c in everyone:
        c.close()


def cancel():
    with connect(autocommit=True) as c:
        timer = threading.Timer(0.5, c.cancel)
        timer.start()
        expect(errors.QueryCanceled, lambda: c.execute("select pg_sleep(15)"))
        timer.join()
        assert c.execute("select 1").fetchone() == (1,)


def listen():
    with connect(autocommit=True) as c, connect(autocommit=True) as other:
        c.execute(f"listen {TABLE}")
        other.execute("select pg_notify(%s, 'hello')", (TABLE,))
        heard = [n.payload for n in c.notifies(timeout=3, stop_after=1)]
        assert heard == ["hello"], f"heard {heard} within 3s"


def reconnect():
    c = connect(autocommit=True)
    expect(psycopg.OperationalError, lambda: c.execute("select pg_terminate_backend(pg_backend_pid())"))
    assert c.closed
    with connect() as c:
        assert c.execute("select %s::int", (1,)).fetchone() == (1,)


def crowd():
    faults = []

    def one(who):
        try:
            with connect() as c:
                for i in range(20):
                    with c.transaction():
                        c.execute(f"insert into {TABLE} values (%s, %s)", (10000 + who * 100 + i, "crowd"))
                        (n,) = c.execute(f"select count(*) from {TABLE} where n between %s and %s", (10000 + who * 100, 10099 + who * 100)).fetchone()
                        assert n == i + 1
        except Exception as e:
            faults.append(e)

    threads = [threading.Thread(target=one, args=(who,)) for who in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if faults:
        raise faults[0]


def main():
    attempt("connect", lambda: connect().close())
    attempt("query", query)
    attempt("transaction", transaction)
    attempt("prepared", prepared)
    attempt("ddl", ddl)
    attempt("error", failing)
    attempt("retry", retry)
    attempt("copy", copy)
    attempt("pipeline", pipeline)
    attempt("cursor", cursor)
    attempt("settings", settings)
    attempt("cancel", cancel)
    attempt("listen", listen)
    attempt("reconnect", reconnect)
    attempt("crowd", crowd)


main()
