//! The ordinary day of an application on tokio-postgres.

use std::future::Future;
use std::time::Duration;

use futures_util::{future, pin_mut, SinkExt, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_postgres::{error::SqlState, AsyncMessage, Client, Config, IsolationLevel, NoTls};

type Fault = Box<dyn std::error::Error + Send + Sync>;
type Done = Result<(), Fault>;

fn table() -> String {
    std::env::var("DAY_TABLE").unwrap()
}

async fn connect() -> Result<Client, Fault> {
    let (client, connection) = tokio_postgres::connect(&std::env::var("DAY_URL")?, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn attempt(name: &str, run: impl Future<Output = Done>) {
    match tokio::time::timeout(Duration::from_secs(20), run).await {
        Ok(Ok(())) => println!("{name} ok"),
        Ok(Err(e)) => println!("{name} failed {e:?}"),
        Err(_) => println!("{name} failed nothing for 20 s"),
    }
}

fn expect<T>(code: &SqlState, result: Result<T, tokio_postgres::Error>) -> Done {
    match result {
        Err(e) if e.code() == Some(code) => Ok(()),
        Err(e) => Err(e.into()),
        Ok(_) => Err(format!("expected {}", code.code()).into()),
    }
}

fn check(right: bool, what: impl Into<String>) -> Done {
    if right { Ok(()) } else { Err(what.into().into()) }
}

async fn query() -> Done {
    let c = connect().await?;
    c.batch_execute(&format!("drop table if exists {0}; create table {0} (n int primary key, x text)", table())).await?;
    let row = c.query_one("select $1::int4 + 1, $2::text", &[&41i32, &"it's"]).await?;
    check(row.get::<_, i32>(0) == 42 && row.get::<_, &str>(1) == "it's", "row")
}

async fn transaction() -> Done {
    let mut c = connect().await?;
    let sql = format!("insert into {} values ($1, 'tx')", table());
    let tx = c.transaction().await?;
    tx.execute(&sql, &[&1i32]).await?;
    tx.commit().await?;
    let tx = c.transaction().await?;
    tx.execute(&sql, &[&2i32]).await?;
    tx.rollback().await?;
    let n: i64 = c.query_one(&format!("select count(*) from {}", table()), &[]).await?.get(0);
    check(n == 1, format!("{n} rows"))
}

async fn prepared() -> Done {
    let mut all = Vec::new();
    for who in 0..3 {
        let c = connect().await?;
        let s = c.prepare(&format!("select $1::int4 * 10 + {who}")).await?;
        all.push((c, s));
    }
    for i in 0..40i32 {
        for (who, (c, s)) in all.iter().enumerate() {
            let n: i32 = c.query_one(s, &[&i]).await?.get(0);
            check(n == i * 10 + who as i32, format!("round {i} of {who}: {n}"))?;
            let same: i32 = c.query_one("select $1::int4", &[&i]).await?.get(0);
            check(same == i, "same text")?;
        }
    }
    Ok(())
}

async fn ddl() -> Done {
    let (c, other) = (connect().await?, connect().await?);
    let s = c.prepare(&format!("select n from {} order by n", table())).await?;
    for i in 0..3 {
        c.query(&s, &[]).await?;
        other.batch_execute(&format!("alter table {} add column c{i} int", table())).await?;
    }
    other.batch_execute(&format!("alter table {} drop column c0, drop column c1, drop column c2", table())).await?;
    Ok(())
}

async fn failing() -> Done {
    let c = connect().await?;
    for _ in 0..3 {
        expect(&SqlState::UNIQUE_VIOLATION, c.execute(&format!("insert into {} values ($1, 'again')", table()), &[&1i32]).await)?;
        expect(&SqlState::SYNTAX_ERROR, c.query("selec $1", &[&1i32]).await)?;
        c.query_one("select 1", &[]).await?;
    }
    Ok(())
}

async fn retry() -> Done {
    let (mut c, other) = (connect().await?, connect().await?);
    for n in 0..3 {
        let tx = c.build_transaction().isolation_level(IsolationLevel::Serializable).start().await?;
        tx.query_one(&format!("select count(*) from {}", table()), &[]).await?;
        if n == 0 {
            other.execute(&format!("update {} set x = 'other' where n = 1", table()), &[]).await?;
        }
        let result = match tx.execute(&format!("update {} set x = $1 where n = 1", table()), &[&"mine"]).await {
            Ok(_) => tx.commit().await,
            Err(e) => {
                tx.rollback().await?;
                Err(e)
            }
        };
        match result {
            Ok(()) => return check(n > 0, "no conflict"),
            Err(e) => expect::<()>(&SqlState::T_R_SERIALIZATION_FAILURE, Err(e))?,
        }
    }
    Err("never succeeded".into())
}

async fn copy_in(c: &Client, lines: &str) -> Result<u64, tokio_postgres::Error> {
    let sink = c.copy_in(&format!("copy {} (n, x) from stdin", table())).await?;
    pin_mut!(sink);
    sink.send(bytes::Bytes::copy_from_slice(lines.as_bytes())).await?;
    sink.finish().await
}

async fn copy() -> Done {
    let c = connect().await?;
    let lines: String = (0..2000).map(|i| format!("{}\tcopied\n", 100 + i)).collect();
    check(copy_in(&c, &lines).await? == 2000, "in")?;
    let out = c.copy_out(&format!("copy (select n from {} where n >= 100) to stdout", table())).await?;
    let out: Vec<_> = out.try_collect().await?;
    let n: usize = out.iter().map(|b| b.iter().filter(|x| **x == b'\n').count()).sum();
    check(n == 2000, format!("{n} lines out"))?;
    expect(&SqlState::UNIQUE_VIOLATION, copy_in(&c, "100\tagain\n").await)?;
    c.query_one("select 1", &[]).await?;
    Ok(())
}

async fn pipeline() -> Done {
    let c = connect().await?;
    let s = c.prepare("select $1::int4").await?;
    let numbers: Vec<i32> = (0..100).collect();
    let rows = future::try_join_all(numbers.iter().map(|n| {
        let (c, s) = (&c, &s);
        async move { c.query_one(s, &[n]).await }
    })).await?;
    for (i, row) in rows.iter().enumerate() {
        check(row.get::<_, i32>(0) == i as i32, "order")?;
    }
    let (a, b, d) = future::join3(c.query("select 1", &[]), c.query("selec", &[]), c.query("select 2", &[])).await;
    check(a.is_ok() && b.is_err() && d.is_ok(), "an error in the middle harms its neighbours")
}

async fn cursor() -> Done {
    let mut c = connect().await?;
    let tx = c.transaction().await?;
    let portal = tx.bind("select n from generate_series(1, $1) n", &[&1000i32]).await?;
    let mut total = 0;
    loop {
        let rows = tx.query_portal(&portal, 100).await?;
        if rows.is_empty() {
            break;
        }
        total += rows.len();
    }
    tx.commit().await?;
    check(total == 1000, format!("{total} rows"))
}

async fn settings() -> Done {
    let zones = ["Asia/Tokyo", "Europe/Paris", "UTC"];
    let mut all = Vec::new();
    for zone in zones {
        let c = connect().await?;
        c.batch_execute(&format!("set timezone to '{zone}'")).await?;
        all.push(c);
    }
    for _ in 0..10 {
        for (c, zone) in all.iter().zip(zones) {
            let got: String = c.query_one("show timezone", &[]).await?.get(0);
            check(got == zone, format!("{got}, not {zone}"))?;
        }
    }
    Ok(())
}

async fn cancel() -> Done {
    let c = connect().await?;
    let token = c.cancel_token();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let _ = token.cancel_query(NoTls).await;
    });
    expect(&SqlState::QUERY_CANCELED, c.query("select pg_sleep(15)", &[]).await)?;
    c.query_one("select 1", &[]).await?;
    Ok(())
}

async fn listen() -> Done {
    let config: Config = std::env::var("DAY_URL")?.parse()?;
    let (c, mut connection) = config.connect(NoTls).await?;
    let (tx, mut heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = futures_util::stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(n) = message {
                let _ = tx.send(n.payload().to_string());
            }
        }
    });
    c.batch_execute(&format!("listen {}", table())).await?;
    connect().await?.query("select pg_notify($1, 'hello')", &[&table()]).await?;
    let payload = tokio::time::timeout(Duration::from_secs(3), heard.recv()).await.map_err(|_| "nothing heard for 3s")?;
    check(payload.as_deref() == Some("hello"), "payload")
}

async fn reconnect() -> Done {
    let c = connect().await?;
    check(c.query("select pg_terminate_backend(pg_backend_pid())", &[]).await.is_err(), "survived its own termination")?;
    connect().await?.query_one("select $1::int4", &[&1i32]).await?;
    Ok(())
}

async fn crowd() -> Done {
    future::try_join_all((0..20i32).map(|who| async move {
        let mut c = connect().await?;
        let insert = c.prepare(&format!("insert into {} values ($1, $2)", table())).await?;
        let count = c.prepare(&format!("select count(*) from {} where n between $1 and $2", table())).await?;
        for i in 0..20i32 {
            let tx = c.transaction().await?;
            tx.execute(&insert, &[&(10000 + who * 100 + i), &"crowd"]).await?;
            let n: i64 = tx.query_one(&count, &[&(10000 + who * 100), &(10099 + who * 100)]).await?.get(0);
            tx.commit().await?;
            check(n == i as i64 + 1, format!("client {who} sees {n} rows in round {i}"))?;
        }
        Ok::<(), Fault>(())
    })).await?;
    Ok(())
}

#[tokio::main]
async fn main() {
    attempt("connect", async { connect().await.map(|_| ()) }).await;
    attempt("query", query()).await;
    attempt("transaction", transaction()).await;
    attempt("prepared", prepared()).await;
    attempt("ddl", ddl()).await;
    attempt("error", failing()).await;
    attempt("retry", retry()).await;
    attempt("copy", copy()).await;
    attempt("pipeline", pipeline()).await;
    attempt("cursor", cursor()).await;
    attempt("settings", settings()).await;
    attempt("cancel", cancel()).await;
    attempt("listen", listen()).await;
    attempt("reconnect", reconnect()).await;
    attempt("crowd", crowd()).await;
}
