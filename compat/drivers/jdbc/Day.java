import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import org.postgresql.PGConnection;

/** The ordinary day of an application on JDBC with prepareThreshold=1: each statement is prepared on the server at its first use. */
class Day {
    static final String URL = System.getenv("DAY_JDBC"), TABLE = System.getenv("DAY_TABLE");

    interface Run { void run(Connection c) throws Exception; }

    static Connection connect() throws SQLException {
        return DriverManager.getConnection(URL + "&prepareThreshold=1", System.getenv("DAY_USER"), System.getenv("DAY_PASSWORD"));
    }

    static void attempt(String name, Run run) {
        try (Connection c = connect()) {
            run.run(c);
            System.out.println(name + " ok");
        } catch (Throwable e) {
            System.out.println(name + " failed " + String.valueOf(e.getMessage()).replace('\n', ' '));
        }
    }

    interface Action { void run() throws Exception; }

    static void expect(String state, Action action) throws Exception {
        try {
            action.run();
        } catch (SQLException e) {
            if (state.equals(e.getSQLState())) return;
            throw e;
        }
        throw new Exception("expected " + state);
    }

    static void check(boolean right, String what) throws Exception {
        if (!right) throw new Exception(what);
    }

    static int number(Connection c, String sql, Object... values) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) s.setObject(i + 1, values[i]);
            try (ResultSet r = s.executeQuery()) {
                r.next();
                return r.getInt(1);
            }
        }
    }

    static void execute(Connection c, String sql, Object... values) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) s.setObject(i + 1, values[i]);
            s.execute();
        }
    }

    public static void main(String[] args) throws Exception {
        attempt("connect", c -> check(c.isValid(5), "not valid"));
        attempt("query", c -> {
            execute(c, "drop table if exists " + TABLE);
            execute(c, "create table " + TABLE + " (n int primary key, x text)");
            check(number(c, "select ?::int + 1", 41) == 42, "sum");
        });
        attempt("transaction", c -> {
            c.setAutoCommit(false);
            execute(c, "insert into " + TABLE + " values (?, 'tx')", 1);
            c.commit();
            execute(c, "insert into " + TABLE + " values (?, 'tx')", 2);
            c.rollback();
            check(number(c, "select count(*) from " + TABLE) == 1, "count");
            c.commit();
        });
        attempt("prepared", c -> prepared());
        attempt("ddl", c -> {
            try (Connection other = connect(); PreparedStatement s = c.prepareStatement("select n from " + TABLE + " order by n")) {
                for (int i = 0; i < 3; i++) {
                    s.executeQuery().close();
                    execute(other, "alter table " + TABLE + " add column c" + i + " int");
                }
                execute(other, "alter table " + TABLE + " drop column c0, drop column c1, drop column c2");
            }
        });
        attempt("error", c -> {
            for (int i = 0; i < 3; i++) {
                expect("23505", () -> execute(c, "insert into " + TABLE + " values (?, 'again')", 1));
                expect("42601", () -> execute(c, "selec ?", 1));
                check(number(c, "select 1") == 1, "one");
            }
        });
        attempt("retry", Day::retry);
        attempt("copy", Day::copy);
        attempt("pipeline", Day::batches);
        attempt("cursor", c -> {
            c.setAutoCommit(false);
            try (PreparedStatement s = c.prepareStatement("select n from generate_series(1, ?) n")) {
                s.setInt(1, 1000);
                s.setFetchSize(100);
                int total = 0;
                try (ResultSet r = s.executeQuery()) {
                    while (r.next()) total++;
                }
                check(total == 1000, total + " rows");
            }
            c.commit();
        });
        attempt("settings", c -> settings());
        attempt("cancel", c -> {
            try (PreparedStatement s = c.prepareStatement("select pg_sleep(15)")) {
                new Timer(true).schedule(new TimerTask() {
                    public void run() {
                        try { s.cancel(); } catch (SQLException e) { System.err.println(e); }
                    }
                }, 500);
                expect("57014", s::execute);
            }
            check(number(c, "select 1") == 1, "one");
        });
        attempt("listen", c -> {
            execute(c, "listen " + TABLE);
            try (Connection other = connect()) {
                execute(other, "select pg_notify(?, 'hello')", TABLE);
            }
            var heard = c.unwrap(PGConnection.class).getNotifications(3000);
            check(heard != null && heard.length == 1 && heard[0].getParameter().equals("hello"), "nothing heard for 3s");
        });
        attempt("reconnect", c -> {
            try {
                execute(c, "select pg_terminate_backend(pg_backend_pid())");
                throw new Exception("survived its own termination");
            } catch (SQLException e) {
                check(!c.isValid(5), "still valid");
            }
            try (Connection again = connect()) {
                check(number(again, "select ?::int", 1) == 1, "one");
            }
        });
        attempt("crowd", c -> crowd());
    }

    static void prepared() throws Exception {
        List<Connection> all = List.of(connect(), connect(), connect());
        List<PreparedStatement> kept = new ArrayList<>();
        for (int who = 0; who < 3; who++) kept.add(all.get(who).prepareStatement("select ?::int * 10 + " + who));
        for (int i = 0; i < 40; i++) {
            for (int who = 0; who < 3; who++) {
                kept.get(who).setInt(1, i);
                try (ResultSet r = kept.get(who).executeQuery()) {
                    r.next();
                    check(r.getInt(1) == i * 10 + who, "round " + i + " of " + who + ": " + r.getInt(1));
                }
                check(number(all.get(who), "select ?::int", who) == who, "same text");
            }
        }
        for (Connection c : all) c.close();
    }

    static void retry(Connection c) throws Exception {
        c.setAutoCommit(false);
        c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        try (Connection other = connect()) {
            for (int n = 0; n < 3; n++) {
                try {
                    number(c, "select count(*) from " + TABLE);
                    if (n == 0) execute(other, "update " + TABLE + " set x = 'other' where n = 1");
                    execute(c, "update " + TABLE + " set x = ? where n = 1", "mine");
                    c.commit();
                    check(n > 0, "no conflict");
                    return;
                } catch (SQLException e) {
                    if (!"40001".equals(e.getSQLState())) throw e;
                    c.rollback();
                }
            }
        }
        throw new Exception("never succeeded");
    }

    static void copy(Connection c) throws Exception {
        var api = c.unwrap(PGConnection.class).getCopyAPI();
        var lines = new StringBuilder();
        for (int i = 0; i < 2000; i++) lines.append(100 + i).append("\tcopied\n");
        check(api.copyIn("copy " + TABLE + " (n, x) from stdin", new StringReader(lines.toString())) == 2000, "in");
        check(api.copyOut("copy (select n from " + TABLE + " where n >= 100) to stdout", new StringWriter()) == 2000, "out");
        expect("23505", () -> api.copyIn("copy " + TABLE + " (n, x) from stdin", new StringReader("100\tagain\n")));
        check(number(c, "select 1") == 1, "one");
    }

    static void batches(Connection c) throws Exception {
        try (PreparedStatement s = c.prepareStatement("insert into " + TABLE + " values (?, ?)")) {
            for (int round = 0; round < 2; round++) {
                for (int i = 0; i < 500; i++) {
                    s.setInt(1, 3000 + i);
                    s.setString(2, "many");
                    s.addBatch();
                }
                if (round == 0) {
                    check(s.executeBatch().length == 500, "batch");
                } else {
                    expect("23505", s::executeBatch);
                }
            }
        }
        check(number(c, "select count(*) from " + TABLE + " where n between 3000 and 3999") == 500, "count");
    }

    static void settings() throws Exception {
        String[] zones = {"Asia/Tokyo", "Europe/Paris", "UTC"};
        List<Connection> all = List.of(connect(), connect(), connect());
        for (int i = 0; i < 3; i++) execute(all.get(i), "set timezone to '" + zones[i] + "'");
        for (int n = 0; n < 10; n++) {
            for (int i = 0; i < 3; i++) {
                try (Statement s = all.get(i).createStatement(); ResultSet r = s.executeQuery("show timezone")) {
                    r.next();
                    check(r.getString(1).equals(zones[i]), r.getString(1) + ", not " + zones[i]);
                }
            }
        }
        for (Connection c : all) c.close();
    }

    static void crowd() throws Exception {
        var pool = Executors.newFixedThreadPool(20);
        var jobs = new ArrayList<Future<?>>();
        for (int w = 0; w < 20; w++) {
            int who = w;
            jobs.add(pool.submit(() -> {
                try (Connection c = connect()) {
                    c.setAutoCommit(false);
                    for (int i = 0; i < 20; i++) {
                        execute(c, "insert into " + TABLE + " values (?, ?)", 10000 + who * 100 + i, "crowd");
                        int n = number(c, "select count(*) from " + TABLE + " where n between ? and ?", 10000 + who * 100, 10099 + who * 100);
                        c.commit();
                        check(n == i + 1, "client " + who + " sees " + n + " rows in round " + i);
                    }
                }
                return null;
            }));
        }
        pool.shutdown();
        for (var job : jobs) job.get();
    }
}
