package sim

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// message is one whole message of a client.
type message []byte

func (m message) kind() byte { return m[0] }

// text is the first string of the body: the SQL of a Query, the reason of a CopyFail.
func (m message) text() string {
	s, _, _ := strings.Cut(string(m[5:]), "\x00")
	return s
}

// cut takes the first whole message off b.
func cut(b []byte) (m message, rest []byte, ok bool) {
	size, complete := protocol.Whole(b)
	if !complete {
		return nil, b, false
	}
	return message(b[:size:size]), b[size:], true
}

// whole is the messages that b completes behind what came before.
func whole(before, b []byte) (messages []message) {
	rest := slices.Concat(before, b)
	for m, r, ok := cut(rest); ok; m, r, ok = cut(r) {
		messages = append(messages, m)
	}
	return messages
}

// session is a model of a PostgreSQL session: a value, so that a copy of it is a way back. It knows neither time nor sockets.
type session struct {
	tx       byte     // as ReadyForQuery says it
	begun    bool     // a transaction is open, be it an implicit one
	base     settings // what RESET goes back to
	settings settings
	before   settings // as they were when the transaction began
	saved    []savepoint
	reported string // the application_name that the client was last told
	skipping bool   // to the next Sync
	copying  copying
	rows     int
	rest     string            // statements of the Query behind its COPY
	prepared map[string]string // statements by their names; replaced, never changed
	portal   string
	ended    bool
	refuses  bool // it is what a client of promotion = "error" sees
	notifying
}

// settings are what SET changes: one that PostgreSQL reports, and one that it does not.
type settings struct{ app, lockTimeout string }

func settingsOf(app string) settings { return settings{app: app, lockTimeout: "0"} }

type copying uint8

const (
	copyNone copying = iota
	copyQuery
	copyExecute
)

func newSession(app string) session {
	return session{tx: 'I', base: settingsOf(app), settings: settingsOf(app), reported: app}
}

func encode(m pgproto3.BackendMessage) []byte {
	b, err := m.Encode(nil)
	if err != nil {
		panic(err)
	}
	return b
}

func failure(code, text string) []byte {
	e := protocol.Error{Severity: "ERROR", Code: code, Message: text}
	return e.Append(nil)
}

const canceledCode = "57014"

func canceledFailure() []byte {
	return failure(canceledCode, "canceling statement due to user request")
}

// busy says that a message takes time, and may be canceled meanwhile.
func (s *session) busy(m message) bool {
	return s.copying == copyNone && (m.kind() == 'Q' || m.kind() == 'E') && !s.skipping
}

// step is PostgreSQL dealing with one message. canceled: a cancel request hits it.
func (s *session) step(m message, canceled bool) (replies []message) {
	if s.copying != copyNone {
		return s.copyStep(m)
	}
	if m.kind() == 'X' {
		s.ended = true
		return nil
	}
	if s.skipping && m.kind() != 'S' {
		return nil
	}
	switch m.kind() {
	case 'Q':
		s.prepare("", nil)
		if canceled {
			return s.ready([]message{s.abort(canceledFailure())})
		}
		return s.query(m.text())
	case 'S':
		s.skipping = false
		return s.ready(nil)
	case 'H', 'd', 'c', 'f':
		return nil
	}
	s.begin()
	replies, fault := s.extended(m, canceled)
	if fault != nil {
		s.skipping = true
		replies = append(replies, s.abort(fault))
	}
	return replies
}

// abort is what an error does to the transaction.
func (s *session) abort(fault []byte) []byte {
	if len(s.saved) > 0 { // only what came behind the newest savepoint
		s.tx = 'E'
		s.back(len(s.saved) - 1)
		return fault
	}
	if s.begun {
		s.settings = s.before
	}
	s.begun = false
	s.rollback()
	if s.tx != 'I' {
		s.tx, s.begun = 'E', true
	}
	return fault
}

// ready ends a Query or a batch.
func (s *session) ready(replies []message) []message {
	if s.tx == 'I' {
		s.commit()
		s.begun, s.portal = false, ""
	}
	if s.settings.app != s.reported {
		s.reported = s.settings.app
		replies = append(replies, encode(&pgproto3.ParameterStatus{Name: "application_name", Value: s.reported}))
	}
	return append(replies, encode(&pgproto3.ReadyForQuery{TxStatus: s.tx}))
}

func (s *session) begin() {
	if !s.begun {
		s.begun, s.before = true, s.settings
	}
}

// query is the simple protocol: statements one after the other, until one fails or is a COPY from the client.
// PostgreSQL parses all of them before it runs the first.
func (s *session) query(sql string) (replies []message) {
	if s.refuses && s.refused(sql) {
		return s.ready([]message{s.abort(refusedFailure())})
	}
	for one := range strings.SplitSeq(sql, ";") {
		if fault := parse(one); fault != nil {
			return s.ready([]message{s.abort(fault)})
		}
	}
	return s.statements(sql)
}

// refused reports that the pooler does not let the text of a Query through, all of it: something in it makes what only a connection can hold,
// unless PostgreSQL has to refuse the text anyway.
func (s *session) refused(sql string) bool {
	makes, ends := false, false
	for one := range strings.SplitSeq(sql, ";") {
		verb, _, _ := strings.Cut(bare(one), " ")
		makes = makes || verb == "load"
		ends = ends || verb == "commit" || verb == "rollback"
	}
	return makes && (s.tx != 'E' || ends)
}

// refusedFailure is what the pooler says then.
func refusedFailure() []byte { return protocol.ErrStateRefused("LOAD", "sim", "").Append(nil) }

func (s *session) statements(sql string) (replies []message) {
	empty := true
	for sql != "" {
		var one string
		one, sql, _ = strings.Cut(sql, ";")
		if bare(one) == "" {
			continue
		}
		empty = false
		s.begin()
		if fault := s.check(one); fault != nil {
			return s.ready(append(replies, s.abort(fault)))
		}
		out, fault := s.run(one, true)
		replies = append(replies, out...)
		if fault != nil {
			return s.ready(append(replies, s.abort(fault)))
		}
		if s.copying != copyNone {
			s.rest = sql
			return replies
		}
	}
	if empty {
		replies = append(replies, encode(&pgproto3.EmptyQueryResponse{}))
	}
	return s.ready(replies)
}

// prepare gives a name to a statement; nil takes it away.
func (s *session) prepare(name string, sql *string) {
	if _, ok := s.prepared[name]; !ok && sql == nil {
		return
	}
	prepared := maps.Clone(s.prepared)
	if sql == nil {
		delete(prepared, name)
	} else {
		if prepared == nil {
			prepared = make(map[string]string)
		}
		prepared[name] = *sql
	}
	s.prepared = prepared
}

// deallocate takes away all statements with names.
func (s *session) deallocate() {
	unnamed, ok := s.prepared[""]
	s.prepared = nil
	if ok {
		s.prepare("", &unnamed)
	}
}

// lookup finds a statement.
func (s *session) lookup(name string) (sql string, fault []byte) {
	sql, ok := s.prepared[name]
	switch {
	case ok:
		return sql, nil
	case name == "":
		return "", failure("26000", "unnamed prepared statement does not exist")
	}
	return "", failure("26000", "prepared statement \""+name+"\" does not exist")
}

// parse is a Parse.
func (s *session) parse(name, sql string) (replies []message, fault []byte) {
	if name == "" {
		s.prepare("", nil)
	}
	if fault = s.check(sql); fault != nil {
		return nil, fault
	}
	if _, ok := s.prepared[name]; ok {
		return nil, failure("42P05", "prepared statement \""+name+"\" already exists")
	}
	s.prepare(name, &sql)
	return []message{encode(&pgproto3.ParseComplete{})}, nil
}

// bind is a Bind.
func (s *session) bind(name string) (replies []message, fault []byte) {
	sql, fault := s.lookup(name)
	if fault == nil {
		fault = s.check(sql)
	}
	if fault != nil {
		return nil, fault
	}
	if s.tx == 'E' && bare(sql) == "" {
		return nil, abortedFailure() // an empty statement passes elsewhere
	}
	if bare(sql) == "select 1/0" {
		return nil, failure("22012", "division by zero") // planned here
	}
	s.portal = sql
	return []message{encode(&pgproto3.BindComplete{})}, nil
}

// describe is a Describe.
func (s *session) describe(kind byte, name string) (replies []message, fault []byte) {
	sql := s.portal
	if kind == 'S' {
		if sql, fault = s.lookup(name); fault != nil {
			return nil, fault
		}
		if s.tx == 'E' && describe(sql) != nil {
			return nil, abortedFailure()
		}
		replies = append(replies, encode(&pgproto3.ParameterDescription{ParameterOIDs: inferred(sql)}))
	}
	if columns := describe(sql); columns != nil {
		return append(replies, columns), nil
	}
	return append(replies, encode(&pgproto3.NoData{})), nil
}

func (s *session) extended(m message, canceled bool) (replies []message, fault []byte) {
	first, rest, _ := strings.Cut(string(m[5:]), "\x00")
	second, _, _ := strings.Cut(rest, "\x00")
	switch m.kind() {
	case 'P':
		return s.parse(first, second)
	case 'B':
		return s.bind(second)
	case 'D':
		return s.describe(first[0], first[1:])
	case 'C':
		if first[0] == 'S' {
			s.prepare(first[1:], nil)
		} else {
			s.portal = ""
		}
		return []message{encode(&pgproto3.CloseComplete{})}, nil
	case 'E':
		if canceled {
			return nil, canceledFailure()
		}
		if bare(s.portal) == "" {
			return []message{encode(&pgproto3.EmptyQueryResponse{})}, nil
		}
		if fault = s.check(s.portal); fault != nil {
			return nil, fault
		}
		return s.run(s.portal, false)
	}
	return nil, failure("08P01", fmt.Sprintf("invalid frontend message type %d", m.kind()))
}

// bare is a statement without the token that its client has put before it.
func bare(sql string) string {
	if rest, ok := strings.CutPrefix(strings.TrimSpace(sql), "/*"); ok {
		_, sql, _ = strings.Cut(rest, "*/")
	}
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(sql), ";"))), `"`, "")
}

func abortedFailure() []byte {
	return failure("25P02", "current transaction is aborted, commands ignored until end of transaction block")
}

// parse finds syntax errors.
func parse(sql string) []byte {
	verb, _, _ := strings.Cut(bare(sql), " ")
	switch verb {
	case "select", "begin", "commit", "rollback", "set", "reset", "show", "copy", "discard", "deallocate", "load", "listen", "unlisten", "notify",
		"savepoint", "release", "":
		return nil
	}
	return failure("42601", "syntax error at or near \""+verb+"\"")
}

// check is what is found before a statement runs.
func (s *session) check(sql string) []byte {
	if fault := parse(sql); fault != nil {
		return fault
	}
	verb, _, _ := strings.Cut(bare(sql), " ")
	if s.tx == 'E' && verb != "commit" && verb != "rollback" && verb != "" {
		return abortedFailure()
	}
	switch {
	case bare(sql) == "select rejected_by_hybridbouncer": // sent in the place of what the pooler refuses
		return failure("42703", "column \"rejected_by_hybridbouncer\" does not exist")
	case verb == "load" && s.refuses:
		return refusedFailure()
	case verb == "load":
		return failure("58P01", "could not access file \"x\": No such file or directory")
	}
	return nil
}

// inferred are the types of a statement's parameters. How many values a Bind has is not looked at.
func inferred(sql string) []uint32 {
	if strings.Contains(sql, "$1") {
		return []uint32{25}
	}
	return nil
}

func describe(sql string) []byte {
	sql = bare(sql)
	name := ""
	switch {
	case strings.HasPrefix(sql, "select "):
		name = "?column?"
	case strings.HasPrefix(sql, "show "):
		name = strings.TrimPrefix(sql, "show ")
	default:
		return nil
	}
	return encode(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{
		{Name: []byte(name), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1},
	}})
}

func complete(tag string) []byte { return encode(&pgproto3.CommandComplete{CommandTag: []byte(tag)}) }

// literal is the text in the first quotes of a statement.
func literal(sql string) string {
	_, sql, _ = strings.Cut(sql, "'")
	sql, _, _ = strings.Cut(sql, "'")
	return sql
}

// run executes one statement that check has let pass.
func (s *session) run(sql string, simple bool) (replies []message, fault []byte) {
	plain := bare(sql)
	if replies, ok := s.statement(plain, sql); ok {
		return replies, nil
	}
	switch {
	case plain == "select 1/0":
		return nil, failure("22012", "division by zero")
	case strings.Contains(plain, "pg_catalog.getdatabaseencoding()"):
		return s.values(sql), nil
	case strings.HasPrefix(plain, "select (select '1' from pg_catalog.pg_listening_channels()"):
		return s.listensTo(sql), nil
	case strings.HasPrefix(plain, "select pg_catalog.set_config(w.name"):
		return s.restored(sql), nil
	case strings.HasPrefix(plain, "select pg_catalog.set_config("):
		return []message{describe(sql), complete("SELECT 0")}, nil
	case strings.HasPrefix(plain, "set client_encoding"):
		return []message{complete("SET")}, nil
	case strings.HasPrefix(plain, "select "):
		return s.row(sql, literal(sql), "SELECT 1", simple), nil
	case plain == "show application_name":
		return s.row(sql, s.settings.app, "SHOW", simple), nil
	case plain == "show lock_timeout":
		return s.row(sql, s.settings.lockTimeout, "SHOW", simple), nil
	case strings.HasPrefix(plain, "set lock_timeout"):
		s.settings.lockTimeout = literal(sql)
		return []message{complete("SET")}, nil
	case strings.HasPrefix(plain, "set "):
		s.settings.app = literal(sql)
		return []message{complete("SET")}, nil
	case plain == "copy sim from stdin":
		s.rows, s.copying = 0, copyExecute
		if simple {
			s.copying = copyQuery
		}
		return []message{encode(&pgproto3.CopyInResponse{ColumnFormatCodes: []uint16{0}})}, nil
	case strings.HasPrefix(plain, "copy ("):
		return []message{
			encode(&pgproto3.CopyOutResponse{ColumnFormatCodes: []uint16{0}}),
			encode(&pgproto3.CopyData{Data: []byte(literal(sql) + "\n")}), encode(&pgproto3.CopyDone{}), complete("COPY 1"),
		}, nil
	case strings.HasPrefix(plain, "reset "):
		s.reset(strings.TrimPrefix(plain, "reset "))
		return []message{complete("RESET")}, nil
	case strings.HasPrefix(plain, "savepoint "), strings.HasPrefix(plain, "release "), strings.HasPrefix(plain, "rollback to "):
		return s.savepoint(plain)
	case plain == "deallocate all":
		s.deallocate()
		return []message{complete("DEALLOCATE ALL")}, nil
	case plain == "discard all":
		if s.tx != 'I' {
			return nil, failure("25001", "DISCARD ALL cannot run inside a transaction block")
		}
		s.deallocate()
		s.settings = s.base
		s.doing = append(slices.Clone(s.doing), "unlisten *")
		return []message{complete("DISCARD ALL")}, nil
	}
	return s.boundary(plain), nil
}

func (s *session) row(sql, value, tag string, simple bool) (replies []message) {
	if simple {
		replies = append(replies, describe(sql))
	}
	return append(replies, encode(&pgproto3.DataRow{Values: [][]byte{[]byte(value)}}), complete(tag))
}

func (s *session) reset(name string) {
	switch name {
	case "application_name":
		s.settings.app = s.base.app
	case "lock_timeout":
		s.settings.lockTimeout = s.base.lockTimeout
	case "all":
		s.settings = s.base
	}
}

// restored gives settings what the pooler says, but for those that the session has set.
func (s *session) restored(sql string) []message {
	_, value, ok := strings.Cut(sql, "('application_name', ")
	if ok && s.settings.app == s.base.app {
		s.settings.app = literal(value)
	}
	return []message{describe(sql), complete("SELECT 0")}
}

// values answers the pooler's question for the values of settings: of those that the session has set, if it asks for their source.
func (s *session) values(sql string) []message {
	var row pgproto3.DataRow
	for _, rest := range strings.Split(sql, "current_setting(")[1:] {
		value := s.settings.app
		if literal(rest) == "lock_timeout" {
			value = s.settings.lockTimeout
			if strings.Contains(sql, "pg_settings") && value == s.base.lockTimeout {
				row.Values = append(row.Values, nil)
				continue
			}
		}
		row.Values = append(row.Values, []byte(hex.EncodeToString([]byte(value))))
	}
	return []message{encode(&row), complete("SELECT 1")}
}

// boundary is begin, commit and rollback.
func (s *session) boundary(plain string) (replies []message) {
	warn := func(code, text string) {
		e := protocol.Error{Severity: "WARNING", Code: code, Message: text}
		replies = append(replies, e.AppendNotice(nil))
	}
	if plain == "begin" {
		if s.tx != 'I' {
			warn("25001", "there is already a transaction in progress")
		}
		s.tx = 'T'
		return append(replies, complete("BEGIN"))
	}
	tag := strings.ToUpper(plain)
	if s.tx == 'I' {
		warn("25P01", "there is no transaction in progress")
	}
	if s.tx == 'E' {
		tag = "ROLLBACK"
	}
	if tag == "ROLLBACK" && s.begun {
		s.settings = s.before
	}
	if tag == "ROLLBACK" {
		s.rollback()
	}
	s.commit()
	s.tx, s.begun, s.saved = 'I', false, nil
	return append(replies, complete(tag))
}

// copyStep deals with a message while COPY reads from the client.
func (s *session) copyStep(m message) (replies []message) {
	switch m.kind() {
	case 'd':
		s.rows++
		return nil
	case 'H', 'S':
		return nil
	case 'c':
		simple := s.copying == copyQuery
		s.copying = copyNone
		replies = append(replies, complete(fmt.Sprintf("COPY %d", s.rows)))
		if !simple {
			return replies
		}
		if s.rest != "" {
			return append(replies, s.statements(s.rest)...)
		}
		return s.ready(replies)
	case 'f':
		return s.copyFails(failure(canceledCode, "COPY from stdin failed: "+m.text()))
	}
	s.ended = true
	return []message{failure("08P01", "unexpected message type during COPY from stdin")}
}

// copyFails ends a COPY with an error.
func (s *session) copyFails(fault []byte) []message {
	simple := s.copying == copyQuery
	s.copying = copyNone
	replies := []message{s.abort(fault)}
	if simple {
		return s.ready(replies)
	}
	s.skipping = true
	return replies
}
