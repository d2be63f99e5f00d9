package sqltext

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

var scriptsFolder = flag.String("scripts", "testdata/scripts", "folder of SQL files that psql runs in TestLexerOnScripts: src/test/regress/sql of PostgreSQL's sources is one")

// onlooker stands between psql and PostgreSQL. After each statement that leaves no transaction open it asks what the session has, and
// compares with what the Lexer has said of the texts since it last asked.
type onlooker struct {
	t              *testing.T
	file           string
	client, server net.Conn
	lexer          Lexer
	dialect        Dialect

	before   map[string]string
	said     []said
	watched  int // statements
	answered int // CommandComplete and EmptyQueryResponse of the last text
	failed   bool
	counts   bool // it was a Query, all of which runs
}

// said is what the Lexer has said of a text.
type said struct {
	text    string
	effects Effects
	names   map[string]bool
}

// sessionProbe is the state of a session, as rows of a name and a value. Names of the catalog stand for themselves whatever search_path is.
const sessionProbe = `select pg_catalog.lower(name), setting from pg_catalog.pg_settings where context in ('user', 'superuser') and name not like 'transaction\_%'
	union all select 'role', pg_catalog.current_setting('role')
	union all select 'session_authorization', session_user::text
	union all select '#prepared', pg_catalog.string_agg(name, ',') from pg_catalog.pg_prepared_statements where from_sql
	union all select '#cursors', pg_catalog.string_agg(name, ',') from pg_catalog.pg_cursors where is_holdable
	union all select '#channels', pg_catalog.string_agg(c, ',') from pg_catalog.pg_listening_channels() c
	union all select '#locks', pg_catalog.string_agg(objid::text, ',' order by classid, objid) from pg_catalog.pg_locks where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid()
	union all select '#temp', pg_catalog.string_agg(oid::text, ',' order by oid) from pg_catalog.pg_class where relnamespace = pg_catalog.pg_my_temp_schema() and relkind <> 'i'`

// readFrame reads one message.
func readFrame(from io.Reader) ([]byte, error) {
	frame := make([]byte, protocol.HeaderBytes)
	if _, err := io.ReadFull(from, frame); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(frame[1:])) + 1
	frame = append(frame, make([]byte, size-protocol.HeaderBytes)...)
	_, err := io.ReadFull(from, frame[protocol.HeaderBytes:])
	return frame, err
}

// look runs the session to its end.
func (o *onlooker) look() error {
	startup := make([]byte, 4)
	if _, err := io.ReadFull(o.client, startup); err != nil {
		return err
	}
	startup = append(startup, make([]byte, binary.BigEndian.Uint32(startup)-4)...)
	if _, err := io.ReadFull(o.client, startup[4:]); err != nil {
		return err
	}
	if _, err := o.server.Write(startup); err != nil {
		return err
	}
	if err := o.answers(); err != nil {
		return err
	}
	for {
		frame, err := readFrame(o.client)
		if err != nil {
			return err
		}
		if _, err := o.server.Write(frame); err != nil {
			return err
		}
		switch frame[0] {
		case protocol.ClientTerminate:
			return nil
		case protocol.ClientQuery:
			o.hears(string(frame[protocol.HeaderBytes : len(frame)-1]))
			o.counts = true
		case protocol.ClientParse:
			_, rest, _ := strings.Cut(string(frame[protocol.HeaderBytes:]), "\x00")
			text, _, _ := strings.Cut(rest, "\x00")
			o.hears(text)
		}
		if frame[0] == protocol.ClientQuery || frame[0] == protocol.ClientSync || frame[0] == protocol.ClientFunctionCall {
			if err := o.answers(); err != nil {
				return err
			}
		}
	}
}

// hears has the Lexer read a text.
func (o *onlooker) hears(text string) {
	o.lexer.Begin(o.dialect)
	o.lexer.Feed([]byte(text))
	one := said{text: text, effects: o.lexer.End(), names: map[string]bool{}}
	for i := range o.lexer.Assignments() {
		one.names[string(o.lexer.Assignment(i).Name)] = true
	}
	o.said = append(o.said, one)
	o.watched++
}

// answers passes on what the server says, up to ReadyForQuery.
func (o *onlooker) answers() error {
	o.answered, o.failed = 0, false
	for {
		frame, err := readFrame(o.server)
		if err != nil {
			return err
		}
		if frame[0] == protocol.ServerReadyForQuery {
			o.ready(frame[protocol.HeaderBytes])
		}
		if _, err := o.client.Write(frame); err != nil {
			return err
		}
		switch frame[0] {
		case protocol.ServerReadyForQuery:
			return nil
		case protocol.ServerCommandComplete:
			o.answered++
		case protocol.ServerErrorResponse:
			o.failed = true
		case protocol.ServerParameterStatus:
			if name, value, ok := protocol.ParseParameterStatus(frame); ok && name == "standard_conforming_strings" {
				o.dialect.BackslashEscapes = value == "off"
			} else if ok && name == "client_encoding" {
				o.dialect.TrailingQuotes = HasTrailingQuotes(value)
			}
		case protocol.ServerCopyInResponse:
			if err := o.feed(); err != nil {
				return err
			}
		}
	}
}

// feed passes on the data of a COPY.
func (o *onlooker) feed() error {
	for {
		frame, err := readFrame(o.client)
		if err != nil {
			return err
		}
		if _, err := o.server.Write(frame); err != nil || frame[0] == protocol.ClientCopyDone || frame[0] == protocol.ClientCopyFail {
			return err
		}
	}
}

// ready compares, when no transaction is open.
func (o *onlooker) ready(status byte) {
	if n := len(o.said); o.counts && n > 0 && !o.failed && o.lexer.Statements() != o.answered && o.said[n-1].effects&Unreadable == 0 {
		o.t.Errorf("%s: %d statements, PostgreSQL completed %d: %.300q", o.file, o.lexer.Statements(), o.answered, o.said[n-1].text)
	}
	o.counts = false
	if status != 'I' {
		return
	}
	after, err := o.probe()
	if err != nil {
		o.t.Errorf("%s: ask what the session has: %v", o.file, err)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if was, there := o.before[name]; there && changed(name, was, after[name]) && !o.foretold(name) {
			o.t.Errorf("%s: %s went from %q to %q behind %s", o.file, name, was, after[name], o.lately())
		}
	}
	o.before, o.said = after, nil
}

// changed reports that a parameter has another value, or that there is something which was not there before.
func changed(name, before, after string) bool {
	if !strings.HasPrefix(name, "#") {
		return before != after
	}
	was := strings.Split(before, ",")
	return after != "" && slices.ContainsFunc(strings.Split(after, ","), func(one string) bool { return !slices.Contains(was, one) })
}

// lately are the texts since the last look.
func (o *onlooker) lately() string {
	var b strings.Builder
	for _, one := range o.said {
		fmt.Fprintf(&b, "%.200q (%s) ", one.text, one.effects)
	}
	return b.String()
}

// foretold reports that a text since the last look may have changed a part of the state. What a function does inside no text tells: what
// was defined in the script is not looked into.
func (o *onlooker) foretold(name string) bool {
	for _, one := range o.said {
		e := one.effects
		if e&(Opaque|Unreadable|Executes|ResetsAll|DiscardsAll) != 0 || e&causes[name] != 0 || one.names[name] {
			return true
		}
		if name == "role" && one.names["session_authorization"] || name == "#temp" && e&MakesTemp != 0 {
			return true
		}
		for _, function := range hiding {
			if strings.Contains(one.text, function) {
				return true
			}
		}
	}
	return name == "#temp" && o.before[name] != "" // a view of a temporary table is temporary without a word
}

// hiding are functions of PostgreSQL's regression tests that set or make something inside.
var hiding = []string{"myfunc(", "cachebug("}

// probe asks the server what the session has.
func (o *onlooker) probe() (map[string]string, error) {
	if _, err := o.server.Write(appendMessage(nil, protocol.ClientQuery, sessionProbe)); err != nil {
		return nil, err
	}
	state := map[string]string{}
	for {
		frame, err := readFrame(o.server)
		if err != nil {
			return nil, err
		}
		switch frame[0] {
		case protocol.ServerDataRow:
			var row [2]string
			protocol.Columns(frame, func(i int, value []byte) { row[i] = string(value) })
			state[row[0]] = row[1]
		case protocol.ServerErrorResponse:
			return nil, errors.New(protocol.ParseError(frame[protocol.HeaderBytes:]).Message)
		case protocol.ServerReadyForQuery:
			return state, nil
		}
	}
}

func appendMessage(dst []byte, messageType byte, text string) []byte {
	dst = append(dst, messageType)
	dst = binary.BigEndian.AppendUint32(dst, uint32(4+len(text)+1))
	return append(append(dst, text...), 0)
}

// TestLexerOnScripts: psql runs SQL files, and after each statement the session has changed in such ways only as the Lexer has foretold.
// With -scripts it takes PostgreSQL's own regression tests, several thousand statements (most of them about other things than sessions).
func TestLexerOnScripts(t *testing.T) {
	psql, err := pgtest.Program("psql")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(*scriptsFolder, "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in %s: %v", *scriptsFolder, err)
	}
	cluster := pgtest.New(t, pgtest.Options{Settings: map[string]string{"max_prepared_transactions": "5"}})
	watched := 0
	for _, file := range files {
		watched += watch(t, psql, cluster, file)
	}
	t.Logf("%d files, %d texts", len(files), watched)
	if watched < len(files) {
		t.Errorf("only %d texts", watched)
	}
}

// watch has psql run one file, with an onlooker. It returns how many texts there were.
func watch(t *testing.T, psql string, cluster *pgtest.Cluster, file string) int {
	t.Helper()
	const limit = time.Minute
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	command := exec.CommandContext(ctx, psql, "-X", "-q", "-h", "127.0.0.1", "-p", port, "-U", cluster.Superuser, "-d", "postgres", "-f", file)
	command.Env = append(os.Environ(), "PGSSLMODE=disable", "PGGSSENCMODE=disable", "PGCLIENTENCODING=UTF8")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	watched := 0
	done := make(chan error, 1)
	go func() { done <- command.Wait(); listener.Close() }()
	for {
		client, err := listener.Accept()
		if err != nil {
			break // psql has ended
		}
		server, err := net.Dial("tcp", cluster.Address())
		if err != nil {
			t.Fatal(err)
		}
		o := &onlooker{t: t, file: filepath.Base(file), client: client, server: server}
		if err := o.look(); err != nil && !errors.Is(err, io.EOF) {
			t.Logf("%s: %v", o.file, err)
		}
		watched += o.watched
		client.Close()
		server.Close()
	}
	if err := <-done; err != nil {
		t.Logf("%s: psql: %v", file, err) // an error of its own, or the script's
	}
	return watched
}
