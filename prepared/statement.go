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

// Statement is a text with its parameter types, prepared by any number of clients and held by any number of servers. Immutable but for
// refs.
type Statement struct {
	parse  string // the whole Parse message under its name on servers
	body   int    // where in it the text begins
	id     uint64
	scope  Scope
	infers bool
	origin *Statement // retained
	words  Words
	refs   int // names of clients, servers that hold it, notes about it, statements it is the origin of. Guarded by Table.mu
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
	return &Statement{parse: b.String(), body: headBytes + len(name) + 1, id: id, scope: scope, infers: infers(body)}
}

const headBytes = 5

// Name is the statement's name on servers.
func (s *Statement) Name() string { return s.parse[headBytes : s.body-1] }

// ParseMessage is the whole Parse message that prepares it on a server.
func (s *Statement) ParseMessage() string { return s.parse }

// ID tells it from all others, those included that are forgotten and those that are yet to come.
func (s *Statement) ID() uint64 { return s.id }

// Infers reports that it may have parameters whose types are not declared: those are what PostgreSQL makes of the text at each Parse.
func (s *Statement) Infers() bool { return s.infers }

// Origin is the statement that it was declared from (Table.Declare); nil when it came as it is.
func (s *Statement) Origin() *Statement { return s.origin }

// Scope is the one it was made for.
func (s *Statement) Scope() Scope { return s.scope }

// Body is what is behind the name in that message.
func (s *Statement) Body() string { return s.parse[s.body:] }

// bytes is what it costs, roughly: the message, the struct, its place in the table.
func (s *Statement) bytes() int { return len(s.parse) + statementBytes }

const statementBytes = 192
