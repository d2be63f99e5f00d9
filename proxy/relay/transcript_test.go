package relay

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/rogpeppe/go-internal/diff"

	"github.com/hybridbouncer/hybridbouncer/prepared"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

var rewrite = flag.Bool("rewrite", false, "write what the relay does into the transcripts; commit the change only if you understand it")

// TestTranscripts plays each file of testdata: what client and server send, and what the relay makes of it. Each is played whole, byte
// by byte and split at random: the outcome must be the same.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			whole := play(t, string(text), func(b []byte) int { return len(b) })
			if *rewrite {
				if err := os.WriteFile(file, []byte(whole), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if whole != string(text) {
				t.Errorf("the relay does something else:\n%s", diff.Diff("transcript", text, "relay", []byte(whole)))
			}
			if got := play(t, string(text), func([]byte) int { return 1 }); got != whole {
				t.Errorf("byte by byte it does something else:\n%s", diff.Diff("whole", []byte(whole), "byte by byte", []byte(got)))
			}
			for seed := range uint64(50) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				got := play(t, string(text), func(b []byte) int { return 1 + rnd.IntN(len(b)) })
				if got != whole {
					t.Fatalf("split by seed %d it does something else:\n%s", seed, diff.Diff("whole", []byte(whole), "split", []byte(got)))
				}
			}
		})
	}
}

// player drives a relay as the proxy does, without sockets.
type player struct {
	t          *testing.T
	mode       Mode
	client     Client
	server     Server
	linked     bool
	held       bool // reads are
	full       bool // no server is to be had
	violated   bool // the client is closed
	fromClient []byte
	fromServer []byte
	tally      Tally
	desk       Desk
	names      bool // outcomes show the names of statements
	alone      bool // there is no shared connection that listens
	lexer      *sqltext.Lexer

	toServer, toClient, dropped []byte
	events                      []string
}

// play runs a transcript and returns it with the outcomes as they are now.
func play(t *testing.T, text string, cut func([]byte) int) string {
	p := &player{t: t, mode: Transaction, client: NewClient(true), server: NewServer(), lexer: &sqltext.Lexer{}}
	p.desk.Table = prepared.NewTable(1 << 20)
	p.server.Tally, p.server.StatementsMax = &p.tally, 200
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "  ") {
			continue // an outcome
		}
		out.WriteString(line + "\n")
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "client>":
			p.feed(encodeClient(t, rest), cut, p.client1)
		case "server<":
			p.feed(encodeServer(t, rest), cut, p.server1)
		case "mode":
			p.mode, _ = ParseMode(rest)
			continue
		case "inject":
			p.server.Inject()
			p.toServer = append(p.toServer, encodeClient(t, "Query "+rest)...)
		case "link":
			p.link()
		case "gone":
			p.abandon()
		case "defer":
			p.client.Defer()
			continue
		case "names":
			p.names = true
			continue
		case "statements": // as the server may hold
			p.server.StatementsMax, _ = strconv.Atoi(rest)
			continue
		case "restores": // what is reset is set anew
			p.client, p.lexer = NewClient(false), &sqltext.Lexer{}
			p.client.Session.Restores, p.client.Session.Begun = true, true
			continue
		case "shares": // a connection is shared for LISTEN, if there is one
			p.client.Session.Tracked, p.client.Session.Shares, p.alone, p.lexer = true, true, rest == "none", &sqltext.Lexer{}
			continue
		case "settled":
			p.settled()
		case "refuse":
			p.refuse()
		case "promotes": // statements that only a connection can hold are judged
			p.client.Session.Promotes, p.lexer = true, &sqltext.Lexer{}
			continue
		case "reject":
			p.client.Reject(&protocol.Error{Severity: "ERROR", Code: "0A000", Message: "refused"})
			p.runClient()
		case "full":
			p.full = true
			continue
		case "reconnect":
			p.client.Forget(p.desk.Table)
			p.client, p.violated, p.fromClient = NewClient(true), false, nil
			continue
		default:
			continue // a comment, an empty line
		}
		for _, o := range p.outcome() {
			out.WriteString("  " + o + "\n")
		}
	}
	return out.String()
}

// feed hands b over in the pieces that cut says.
func (p *player) feed(b []byte, cut func([]byte) int, one func([]byte)) {
	for len(b) > 0 {
		n := cut(b)
		one(b[:n])
		b = b[n:]
	}
}

func (p *player) client1(b []byte) {
	p.fromClient = append(p.fromClient, b...)
	p.runClient()
}

func (p *player) runClient() {
	for len(p.fromClient) > 0 && !p.violated {
		var s *Server
		if p.linked {
			s = &p.server
		}
		step := p.client.FromClient(p.fromClient, s)
		switch step.Verdict {
		case More:
			return
		case Forward:
			p.toServer = append(p.toServer, p.fromClient[:step.N]...)
		case Drop:
			p.dropped = append(p.dropped, p.fromClient[:step.N]...)
		case Checkout:
			if p.full {
				return
			}
			p.link()
			p.event("checkout")
		case Hold:
			if !p.held {
				p.event("hold")
			}
			p.held = true
			return
		case Promote:
			p.event("promote: " + step.Kind.String())
			return
		case Share:
			channels, known := p.client.Session.Wanted()
			p.event(fmt.Sprintf("share %q %t", channels, known))
			p.client.Session.Cleared, p.client.Session.Hears = true, p.alone
		case Rewrite:
			p.toServer = append(p.toServer, p.desk.ToServer...)
			p.toClient = append(p.toClient, p.desk.ToClient...)
		case Answer:
			p.event("answer " + step.Tag.String() + " and ReadyForQuery " + string(p.client.TxStatus()))
		case AnswerReady:
			p.event("answer ReadyForQuery " + string(p.client.TxStatus()))
		case EndRefusal:
			p.event("end of refusal, " + string(p.client.TxStatus()))
			p.dropped = append(p.dropped, p.fromClient[:step.N]...)
		case Leave:
			p.event("client leaves")
		case Violate:
			p.event("violation: " + step.Err.Message)
			p.violated = true
			return
		default:
			p.t.Fatalf("verdict %v for a client", step.Verdict)
		}
		p.fromClient, p.held = p.fromClient[step.N:], false
	}
}

func (p *player) server1(b []byte) {
	p.fromServer = append(p.fromServer, b...)
	for len(p.fromServer) > 0 {
		step := p.server.FromServer(p.fromServer)
		switch step.Verdict {
		case More:
			return
		case Forward:
			p.toClient = append(p.toClient, p.fromServer[:step.N]...)
		case Drop:
			p.dropped = append(p.dropped, p.fromServer[:step.N]...)
		case Rewrite:
			p.toServer = append(p.toServer, p.desk.ToServer...)
			p.toClient = append(p.toClient, p.desk.ToClient...)
		case Report:
			if step.Injected {
				p.event("report, unseen by the client")
			} else {
				p.event("report")
				p.toClient = append(p.toClient, p.fromServer[:step.N]...)
			}
		case Overheard:
			p.event("overheard")
		case Ready:
			p.event("ready, kept back")
		case Refused:
			p.event("refused")
		case Distrust:
			p.event("distrust: " + step.Err.Detail)
			step.N = len(p.fromServer)
		default:
			p.t.Fatalf("verdict %v for a server", step.Verdict)
		}
		p.fromServer = p.fromServer[step.N:]
	}
	if n := &p.client.Session; p.linked && n.Restores && n.Pending() && p.server.Quiet() && p.server.TxStatus != StatusFailed {
		p.restore()
	}
	if p.linked && p.mode != Session && p.server.Settled() && !p.client.MidMessage() && !p.client.Session.Withheld {
		p.linked = false
		p.server.Unlink()
		p.event("checkin" + map[bool]string{true: " in doubt"}[p.server.Doubtful()])
	}
	if len(p.fromClient) > 0 {
		p.runClient() // it may have been held
	}
	if p.server.Abandoned() && p.server.Quiet() {
		p.event("at rest " + string(p.server.TxStatus))
		p.server.Released()
	}
}

func (p *player) link() {
	p.linked = true
	p.server.Parts = p.mode != Session
	p.server.Link(&p.client, &p.tally, &p.desk, p.server.StatementsMax)
	p.server.Watch(&p.client, p.lexer)
	if p.client.Deferred() {
		sql := p.server.Begin(&p.client)
		p.event("begins by " + sql)
		p.toServer = append(p.toServer, encodeClient(p.t, "Query "+strconv.Quote(sql))...)
	}
}

// settled deals with what the transactions did to what the client listens to, and lets it have its ReadyForQuery.
func (p *player) settled() {
	n := &p.client.Session
	if n.Pending() {
		out := n.Resolve()
		p.event(fmt.Sprintf("listenings %v, doubtful %q, the server listens: %t", out.Listenings, out.Doubtful, out.Listens))
		n.Listening = n.Listening || len(out.Listenings) > 0
	}
	n.Withheld, n.Hears = false, false
	p.server1(nil)
}

// restore sets anew what has been reset, whatever it is.
func (p *player) restore() {
	changes, sure := p.client.Session.Restore()
	p.event(fmt.Sprintf("restore %ssure: %t", told(Outcome{Changes: changes}), sure))
	p.server.Inject()
	p.toServer = append(p.toServer, encodeClient(p.t, `Query "set what the session began with"`)...)
}

func (p *player) abandon() {
	if !p.linked {
		return
	}
	send, ok := p.server.Abandon(&p.client)
	if !ok {
		p.event("close the server")
	}
	p.toServer = append(p.toServer, send...)
	p.linked, p.held, p.fromClient = false, false, nil
	p.server.Unlink()
	p.client.Forget(p.desk.Table)
}

func (p *player) refuse() {
	keep := p.client.Refuse(p.fromClient)
	p.event(fmt.Sprintf("refused, keep %t", keep))
	p.full = false
	if !keep {
		p.violated = true // it is closed
		return
	}
	p.runClient()
}

// event notes something between bytes; equal neighbours count once, as a split message may say it twice.
func (p *player) event(e string) {
	if n := len(p.events); n == 0 || p.events[n-1] != e {
		p.events = append(p.events, e)
	}
}

// outcome describes what happened since the last call.
func (p *player) outcome() []string {
	out := append([]string(nil), p.events...)
	for _, to := range []struct {
		what      string
		b         *[]byte
		direction protocol.Direction
	}{{"-> server ", &p.toServer, protocol.FromClient}, {"-> client ", &p.toClient, protocol.FromServer}, {"dropped ", &p.dropped, protocol.FromServer}} {
		if len(*to.b) > 0 {
			out = append(out, to.what+types(*to.b, p.names && to.direction == protocol.FromClient))
			*to.b = nil
		}
	}
	out = append(out, p.state())
	p.events = nil
	return out
}

func (p *player) state() string {
	var b strings.Builder
	b.WriteString("state:")
	if p.linked {
		b.WriteString(" linked")
	}
	fmt.Fprintf(&b, " %c owed", p.server.TxStatus)
	for i := range p.server.ledger.len() {
		fmt.Fprintf(&b, " %s", kindName(p.server.ledger.at(i)))
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"batch-open", p.server.batchOpen},
		{"skipping", p.server.skipping},
		{"copy", p.server.InCopy()},
		{"doubt", p.server.doubt},
		{"answering", p.server.Answering()},
		{"mid-message", p.client.MidMessage()},
	} {
		if f.set {
			b.WriteString(", " + f.name)
		}
	}
	return b.String()
}

func kindName(r *request) string {
	name := [...]string{"nothing", "query", "function", "sync", "parse", "bind", "describe", "execute", "close", "asked", "failing"}[r.kind]
	if r.origin == poolerOrigin {
		name += "(injected)"
	}
	if r.copyEnded {
		name += "(copy ended)"
	}
	if r.origin == synthesized {
		name += "(ours)"
	}
	return name
}

// types lists the message types in b, with the names of statements if so wished.
func types(b []byte, names bool) string {
	var out []string
	for len(b) >= headerBytes {
		size, complete := protocol.Whole(b)
		out = append(out, string(b[:1]))
		if !complete {
			out[len(out)-1] += "..."
			break
		}
		if names {
			out[len(out)-1] += statementName(b[:size])
		}
		b = b[size:]
	}
	return strings.Join(out, " ")
}

// statementName is the name of the statement that a client's message is about, in parentheses; of a Parse the types too.
func statementName(b []byte) string {
	name := ""
	switch b[0] {
	case protocol.ClientParse:
		name = cString(b[headerBytes:])
		text := cString(b[headerBytes+len(name)+1:])
		for types := b[headerBytes+len(name)+1+len(text)+1+2:]; len(types) >= 4; types = types[4:] {
			name += fmt.Sprint(" ", binary.BigEndian.Uint32(types))
		}
	case protocol.ClientBind:
		portal := cString(b[headerBytes:])
		name = cString(b[headerBytes+len(portal)+1:])
	case protocol.ClientDescribe, protocol.ClientClose:
		name = cString(b[headerBytes+1:])
		if b[headerBytes] == 'P' {
			name = "portal " + name
		}
	default:
		return ""
	}
	return "(" + name + ")"
}

func cString(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// words splits a transcript's message into its words; "..." holds one together.
func words(s string) []string {
	var out []string
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		var w string
		if s[0] == '"' {
			w, s, _ = strings.Cut(s[1:], `"`)
		} else {
			w, s, _ = strings.Cut(s, " ")
		}
		out = append(out, w)
	}
	return out
}

func encodeClient(t *testing.T, line string) []byte {
	var out []byte
	for text := range strings.SplitSeq(line, "|") {
		w := append(words(text), "", "")
		var m pgproto3.FrontendMessage
		switch w[0] {
		case "Query":
			m = &pgproto3.Query{String: w[1]}
		case "Parse":
			m = &pgproto3.Parse{Name: w[1], Query: w[2]}
		case "Bind":
			m = bindOf(w[1:])
		case "Describe":
			m = &pgproto3.Describe{ObjectType: 'S', Name: w[1]}
		case "DescribePortal":
			m = &pgproto3.Describe{ObjectType: 'P', Name: w[1]}
		case "Execute":
			m = &pgproto3.Execute{}
		case "Close":
			m = &pgproto3.Close{ObjectType: 'S', Name: w[1]}
		case "Sync":
			m = &pgproto3.Sync{}
		case "Flush":
			m = &pgproto3.Flush{}
		case "CopyData":
			m = &pgproto3.CopyData{Data: []byte("1\n")}
		case "CopyDone":
			m = &pgproto3.CopyDone{}
		case "CopyFail":
			m = &pgproto3.CopyFail{Message: "no"}
		case "FunctionCall":
			m = &pgproto3.FunctionCall{}
		case "Terminate":
			m = &pgproto3.Terminate{}
		case "Bytes":
			out = append(out, unquote(t, w[1])...)
			continue
		default:
			t.Fatalf("no message %q", w[0])
		}
		b, err := m.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

// bindOf is a Bind of a statement; "binary": with a parameter in binary, "formats": with a format for each of two columns.
func bindOf(w []string) *pgproto3.Bind {
	m := &pgproto3.Bind{PreparedStatement: w[0]}
	for _, word := range w[1:] {
		switch word {
		case "binary":
			m.ParameterFormatCodes, m.Parameters = []int16{1}, [][]byte{{0, 0, 0, 1}}
		case "formats":
			m.ResultFormatCodes = []int16{1, 0}
		}
	}
	return m
}

// columnsOf are columns, each given as its name and the number of its type: n:23.
func columnsOf(w []string) *pgproto3.RowDescription {
	m := &pgproto3.RowDescription{}
	for _, column := range w {
		if name, oid, ok := strings.Cut(column, ":"); ok {
			n, _ := strconv.Atoi(oid)
			m.Fields = append(m.Fields, pgproto3.FieldDescription{Name: []byte(name), DataTypeOID: uint32(n)})
		}
	}
	return m
}

func unquote(t *testing.T, hex string) []byte {
	var out []byte
	for i := 0; i+1 < len(hex); i += 2 {
		var x byte
		if _, err := fmt.Sscanf(hex[i:i+2], "%02x", &x); err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

func encodeServer(t *testing.T, line string) []byte {
	var out []byte
	for text := range strings.SplitSeq(line, "|") {
		w := append(words(text), "", "")
		m := serverMessage(w)
		if w[0] == "Bytes" {
			out = append(out, unquote(t, w[1])...)
			continue
		}
		if m == nil {
			t.Fatalf("no message %q", w[0])
		}
		b, err := m.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

func serverMessage(w []string) pgproto3.BackendMessage {
	switch w[0] {
	case "ParseComplete":
		return &pgproto3.ParseComplete{}
	case "BindComplete":
		return &pgproto3.BindComplete{}
	case "CloseComplete":
		return &pgproto3.CloseComplete{}
	case "ParameterDescription":
		m := &pgproto3.ParameterDescription{}
		if n, err := strconv.Atoi(w[1]); err == nil {
			m.ParameterOIDs = []uint32{uint32(n)}
		}
		return m
	case "RowDescription":
		return columnsOf(w[1:])
	case "NoData":
		return &pgproto3.NoData{}
	case "DataRow":
		return &pgproto3.DataRow{Values: [][]byte{bytes.Repeat([]byte("x"), 30)}}
	case "CommandComplete":
		return &pgproto3.CommandComplete{CommandTag: []byte(w[1])}
	case "EmptyQueryResponse":
		return &pgproto3.EmptyQueryResponse{}
	case "PortalSuspended":
		return &pgproto3.PortalSuspended{}
	case "ErrorResponse":
		return &pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: w[1], Message: "no", Routine: w[2]}
	case "FatalError":
		return &pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: w[1], Message: "no"}
	case "ReadyForQuery":
		return &pgproto3.ReadyForQuery{TxStatus: w[1][0]}
	case "CopyInResponse":
		return &pgproto3.CopyInResponse{}
	case "CopyOutResponse":
		return &pgproto3.CopyOutResponse{}
	case "CopyBothResponse":
		return &pgproto3.CopyBothResponse{}
	case "CopyData":
		return &pgproto3.CopyData{Data: []byte("1\n")}
	case "CopyDone":
		return &pgproto3.CopyDone{}
	case "NoticeResponse":
		return &pgproto3.NoticeResponse{Message: "mind"}
	case "NotificationResponse":
		return &pgproto3.NotificationResponse{Channel: "c"}
	case "ParameterStatus":
		return &pgproto3.ParameterStatus{Name: w[1], Value: w[2]}
	case "FunctionCallResponse":
		return &pgproto3.FunctionCallResponse{}
	}
	return nil
}
