// Package prepared owns what is known of prepared statements as things: which texts there are (Table), which of them one server holds
// (Cache). It must not know clients, sockets, messages' order or transactions: package relay decides what to do with them.
//
// A Table serves every loop and has a lock of its own, which is taken when a statement gets its first or its last name, never on the
// way of a query. A Cache belongs to its server. Read table.go first.
package prepared

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// Prefix begins the names that statements have on servers. A client's own name never reaches a server if it begins so.
const Prefix = "hb_"

// Statement is a text with its parameter types, prepared by any number of clients and held by any number of servers. Immutable but for its
// last fields and for the text: the Table gives the text up when servers alone still hold the statement, and memory is short.
type Statement struct {
	parse  string // the whole Parse message under its name on servers; empty once the text is given up
	body   int    // where in it the text begins
	name   string
	id     uint64
	scope  Scope
	infers bool
	origin *Statement // retained
	words  Words

	// guarded by Table.mu
	refs         int        // names of clients, servers that hold it, entries of ledgers, statements it is the origin of
	servers      int        // those of refs that are servers
	unlisted     bool       // the Table no longer finds it by its text, and no longer counts it
	newer, older *Statement // among the idle ones of the Table, while refs are servers alone
}

// Scope is what changes the meaning of a text while it is parsed: where its names are looked up, how its constants and strings are read. Equal
// texts of different scopes are different statements.
type Scope string

// newStatement makes the message. body is the part of a Parse behind the name: text, number of types, types.
func newStatement(id uint64, scope Scope, body []byte) *Statement {
	name := Prefix + strconv.FormatUint(id, 10)
	var b strings.Builder
	b.Grow(headBytes + len(name) + 1 + len(body))
	var head [headBytes]byte
	head[0] = 'P'
	binary.BigEndian.PutUint32(head[1:], uint32(4+len(name)+1+len(body)))
	b.Write(head[:])
	b.WriteString(name)
	b.WriteByte(0)
	b.Write(body)
	return &Statement{parse: b.String(), body: headBytes + len(name) + 1, name: name, id: id, scope: scope, infers: infers(body)}
}

const headBytes = 5

// Name is the statement's name on servers.
func (s *Statement) Name() string { return s.name }

// ParseMessage is the whole Parse message that prepares it on a server. The caller has a reference that is not a server's.
func (s *Statement) ParseMessage() string { return s.parse }

// ID tells it from all others, those included that are forgotten and those that are yet to come.
func (s *Statement) ID() uint64 { return s.id }

// Infers reports that it may have parameters whose types are not declared: those are what PostgreSQL makes of the text at each Parse.
func (s *Statement) Infers() bool { return s.infers }

// Origin is the statement that it was declared from (Table.Declare); nil when it came as it is.
func (s *Statement) Origin() *Statement { return s.origin }

// Scope is the one it was made for.
func (s *Statement) Scope() Scope { return s.scope }

// Size is what the statement costs in memory, in bytes, roughly. The caller has a reference that is not a server's.
func (s *Statement) Size() int { return s.bytes() }

// Body is what is behind the name in that message. The caller has a reference that is not a server's.
func (s *Statement) Body() string { return s.parse[s.body:] }

// bytes is what it costs, roughly: the message, the struct, its place in the table.
func (s *Statement) bytes() int { return len(s.parse) + statementBytes }

const statementBytes = 192
