package leak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// eitherDatabase stands for the name of the database in messages of both directions; it is as long as the two names.
const eitherDatabase = "leak_either"

// session is one login.
type session struct {
	address, database string
	socket            net.Conn
	in                *pgproto3.Frontend
	key               pgproto3.BackendKeyData
	parameters        map[string]string
	shown             string // parameters as text; empty when they have changed
	early             string // likewise, when the first message of the last answer came
}

// play lives a life and returns the answers to its steps. A session that ends too early has fewer. The error is ctx's.
func play(ctx context.Context, address, database string, life Life) ([]string, error) {
	s, err := login(ctx, address, database, life.Startup)
	if err != nil {
		return nil, err
	}
	defer s.socket.Close()
	unblock := context.AfterFunc(ctx, func() { _ = s.socket.SetDeadline(time.Unix(1, 0)) })
	defer unblock()
	var answers []string
	for _, step := range life.Steps {
		answer, ended := s.step(ctx, step)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if len(answers) > 0 {
			answers[len(answers)-1] += s.early
		}
		answers = append(answers, strings.ReplaceAll(answer, database, eitherDatabase))
		if ended {
			return answers, nil
		}
	}
	if len(answers) > 0 {
		answers[len(answers)-1] += s.reported()
	}
	s.leave(life.End)
	return answers, nil
}

func login(ctx context.Context, address, database string, startup map[string]string) (*session, error) {
	var dialer net.Dialer
	socket, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s := &session{address: address, database: database, socket: socket, parameters: map[string]string{}}
	s.in = pgproto3.NewFrontend(socket, socket)
	_ = socket.SetDeadline(time.Now().Add(stepLimit))
	parameters := map[string]string{"user": Role, "database": database}
	maps.Copy(parameters, startup)
	s.in.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: parameters})
	if err = s.in.Flush(); err == nil {
		answer, ended := s.answer(1)
		if ended || strings.Contains(answer, "ERROR") {
			err = errors.New("login: " + answer)
		}
	}
	if err != nil {
		_ = socket.Close()
		return nil, err
	}
	return s, nil
}

// step sends a step and returns its answer. ended: there will be no other.
func (s *session) step(ctx context.Context, step Step) (answer string, ended bool) {
	_ = s.socket.SetDeadline(time.Now().Add(stepLimit))
	if ctx.Err() != nil {
		return "", true
	}
	s.early = s.reported()
	if step.Bytes == nil {
		return "", s.cancel(ctx) != nil
	}
	if err := s.send(step.Bytes, step.Cuts); err != nil {
		return "send: " + withoutAddresses(err), true
	}
	if !step.Cancels {
		return s.answer(step.Ready)
	}
	return s.cancelling(ctx, step.Ready)
}

// send writes bytes in one piece, and more.
func (s *session) send(b []byte, cuts int) error {
	b = bytes.ReplaceAll(b, []byte(eitherDatabase), []byte(s.database))
	for piece := len(b)/(cuts+1) + 1; len(b) > 0; b = b[min(piece, len(b)):] {
		if _, err := s.socket.Write(b[:min(piece, len(b))]); err != nil {
			return err
		}
	}
	return nil
}

// cancelling is answer while cancel requests are sent, one at a time. The last of them may come too late; then it hits nothing, because it
// has been delivered before the next statement is sent.
func (s *session) cancelling(ctx context.Context, ready int) (answer string, ended bool) {
	const between = 30 * time.Millisecond
	type reply struct {
		answer string
		ended  bool
	}
	done := make(chan reply, 1)
	go func() {
		answer, ended := s.answer(ready)
		done <- reply{answer, ended}
	}()
	tick := time.NewTicker(between)
	defer tick.Stop()
	for {
		select {
		case r := <-done:
			return withoutColumns(r.answer), r.ended
		case <-tick.C:
			_ = s.cancel(ctx) // when the address cannot be reached the answer does not come either
		}
	}
}

// withoutColumns is the answer to a statement that was cancelled, whether it had begun or waited still.
func withoutColumns(answer string) string {
	var b strings.Builder
	for line := range strings.Lines(answer) {
		if !strings.HasPrefix(line, "columns ") && !strings.HasPrefix(line, "complete SET") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// cancel sends a cancel request and waits until it has been dealt with: the other side closes then.
func (s *session) cancel(ctx context.Context) error {
	var dialer net.Dialer
	socket, err := dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	defer socket.Close()
	_ = socket.SetDeadline(time.Now().Add(stepLimit))
	request := pgproto3.CancelRequest{ProcessID: s.key.ProcessID, SecretKey: s.key.SecretKey}
	b, err := request.Encode(nil)
	if err != nil {
		return err
	}
	if _, err := socket.Write(b); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, socket)
	return nil
}

// answer reads up to the last of several ReadyForQuery, and says what came. What it tells of the session's parameters counts when the next
// answer begins: that one of them has gone back to what it was at the login, a pooler may say behind its ReadyForQuery.
func (s *session) answer(ready int) (answer string, ended bool) {
	var b strings.Builder
	for first := true; ready > 0; {
		m, err := s.in.Receive()
		if err != nil {
			fmt.Fprintf(&b, "closed: %s\n", withoutAddresses(err))
			return b.String(), true
		}
		if _, status := m.(*pgproto3.ParameterStatus); first && !status {
			s.early, first = s.reported(), false
		}
		switch m := m.(type) {
		case *pgproto3.ParameterStatus:
			if s.parameters[m.Name] != m.Value {
				s.parameters[m.Name], s.shown = m.Value, ""
			}
		case *pgproto3.BackendKeyData:
			s.key = pgproto3.BackendKeyData{ProcessID: m.ProcessID, SecretKey: bytes.Clone(m.SecretKey)}
		case *pgproto3.ReadyForQuery:
			ready--
			fmt.Fprintf(&b, "ready %c\n", m.TxStatus)
		default:
			describe(&b, m)
		}
	}
	return b.String(), false
}

// withoutAddresses is an error as it is on any socket.
func withoutAddresses(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// reported holds the reported parameters and their values.
func (s *session) reported() string {
	if s.shown == "" {
		var b strings.Builder
		for _, name := range slices.Sorted(maps.Keys(s.parameters)) {
			fmt.Fprintf(&b, "%s=%s ", name, s.parameters[name])
		}
		s.shown = b.String()
	}
	return s.shown
}

// describe is a message as a line; what differs between databases (object ids) is left out.
func describe(b *strings.Builder, m pgproto3.BackendMessage) {
	switch m := m.(type) {
	case *pgproto3.ErrorResponse:
		b.WriteString("ERROR ")
		describeError(b, (*pgproto3.NoticeResponse)(m))
	case *pgproto3.NoticeResponse:
		b.WriteString("notice ")
		describeError(b, m)
	case *pgproto3.RowDescription:
		b.WriteString("columns")
		for _, f := range m.Fields {
			fmt.Fprintf(b, " %s:%d", f.Name, f.DataTypeOID)
		}
		b.WriteByte('\n')
	case *pgproto3.DataRow:
		b.WriteString("row")
		for _, v := range m.Values {
			if v == nil {
				b.WriteString(" NULL")
			} else {
				fmt.Fprintf(b, " %q", v)
			}
		}
		b.WriteByte('\n')
	case *pgproto3.CommandComplete:
		fmt.Fprintf(b, "complete %s\n", m.CommandTag)
	case *pgproto3.CopyData:
		fmt.Fprintf(b, "data %q\n", m.Data)
	default:
		fmt.Fprintf(b, "%T\n", m)
	}
}

func describeError(b *strings.Builder, m *pgproto3.NoticeResponse) {
	fmt.Fprintf(b, "%s %s %s", m.Code, m.Severity, m.Message)
	for _, more := range []string{m.Detail, m.Hint, m.Where} {
		if more != "" {
			fmt.Fprintf(b, " (%s)", more)
		}
	}
	if m.Position != 0 {
		fmt.Fprintf(b, " at %d", m.Position)
	}
	b.WriteByte('\n')
}

// leave ends a session.
func (s *session) leave(how Ending) {
	last := &batch{}
	switch how {
	case EndGoodbye:
		last.add("", &pgproto3.Terminate{})
	case EndHalf:
		last.query("set app.x = 'never'")
		last.bytes = last.bytes[:len(last.bytes)-5]
	case EndUnheard:
		last.query("begin")
		last.query("set app.x = 'tenant-never-'")
		last.query("select set_config('app.tenant_id', 'tenant-never-', false)")
	case EndRunning:
		last.query("set app.x = 'tenant-never-'")
		last.query("select pg_sleep(0.2)")
	case EndUnsynced:
		last.parse("", "set app.x = 'tenant-never-'")
		last.bind("", nil)
		last.add("", &pgproto3.Execute{})
		last.add("", &pgproto3.Flush{})
	case EndReset:
		if tcp, ok := s.socket.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	case EndClosed:
	}
	_ = s.send(last.bytes, 0)
	_ = s.socket.Close()
}
