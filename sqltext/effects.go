package sqltext

import "strings"

// Effects is what the text of a statement says it does to the session beyond its own transaction: a set. Empty for the statements of
// most applications. What a function does inside, no text tells.
type Effects uint64

// The effects.
const (
	// Assigns: parameters are set or reset for the session; Lexer.Assignment tells which. SET LOCAL and SET TRANSACTION do not count.
	Assigns Effects = 1 << iota
	// ResetsAll: RESET ALL. It touches neither role nor session_authorization. Among the assignments it has its place, without a name.
	ResetsAll
	// DiscardsAll: DISCARD ALL.
	DiscardsAll
	// DiscardsTemp: DISCARD TEMP.
	DiscardsTemp
	// Prepares: PREPARE of a statement.
	Prepares
	// Deallocates: DEALLOCATE of a name or ALL.
	Deallocates
	// Executes: EXECUTE of a prepared statement.
	Executes
	// Listens: LISTEN. Lexer.Listening tells of which channel.
	Listens
	// Unlistens: UNLISTEN.
	Unlistens
	// Notifies: NOTIFY.
	Notifies
	// HoldsCursor: DECLARE ... WITH HOLD.
	HoldsCursor
	// MakesTemp: a temporary object that outlives its transaction is made, or pg_temp is named.
	MakesTemp
	// LocksAdvisory: a session-level advisory lock may be taken.
	LocksAdvisory
	// UnlocksAdvisory: pg_advisory_unlock and its kin.
	UnlocksAdvisory
	// HoldsOther: something else that only a connection can hold: a connection of dblink, a replication origin, or a replication slot that
	// may be temporary.
	HoldsOther
	// Loads: LOAD.
	Loads
	// Begins: BEGIN, START TRANSACTION.
	Begins
	// Commits: COMMIT, END. With ...AND CHAIN also Chains.
	Commits
	// RollsBack: ROLLBACK, ABORT of the whole transaction.
	RollsBack
	// PreparesTransaction: PREPARE TRANSACTION, which ends it.
	PreparesTransaction
	// Chains: COMMIT or ROLLBACK AND CHAIN.
	Chains
	// RollsBackTo: ROLLBACK TO a savepoint.
	RollsBackTo
	// Opaque: DO, CALL, and functions of PostgreSQL that execute a text they are given. Their effects are not in the text.
	Opaque
	// Unreadable: nobody can tell from the text alone: see Dialect, and the bounds of Lexer. Other effects are then a guess.
	Unreadable
	// Saves: SAVEPOINT. Lexer.Name tells which; likewise for Releases, RollsBackTo, Prepares, Deallocates and Executes.
	Saves
	// Releases: RELEASE of a savepoint.
	Releases
	// AssignsLocally: a parameter that decides what a text means (DecidesMeaning) is set for the transaction. It is among the assignments.
	AssignsLocally
	// LeadsToTemp: search_path is set, for the session or the transaction, to a list under which new objects may be temporary: see
	// PathLeadsToTemp. Where pg_temp comes first MakesTemp is set too.
	LeadsToTemp
	// Creates: an object is made in the schema that comes first in search_path (CREATE, SELECT INTO), unless the text names another.
	// It is temporary where search_path leads to temporary objects.
	Creates
	// Seeds: the seed of random() is chosen, by setseed or the parameter seed. No SQL takes that back.
	Seeds
	// AssignsUnnamed: a set_config whose name is computed, or comes from a row. It is Unreadable too.
	AssignsUnnamed
	// Writes: INSERT, UPDATE, DELETE, MERGE, COPY, TRUNCATE or FOR UPDATE stands somewhere in the text: triggers may run.
	Writes
	// Defines: a statement that is neither a query, nor one of those above, nor about the session or its transaction: CREATE, ALTER, ....
	Defines
	// ReadsSequence: lastval or currval is called, whose answer belongs to the session.
	ReadsSequence
	// DrawsSequence: INSERT, COPY, MERGE, nextval or setval, by which the session gets a lastval of its own.
	DrawsSequence
	// Mentions: the text has a name of those that Lexer.Watch was given.
	Mentions
	// CallsUnknown: the text calls a function whose name is not among those that Lexer.Trust was given.
	CallsUnknown
)

var effectNames = [...]string{
	"assigns", "resets_all", "discards_all", "discards_temp", "prepares", "deallocates", "executes", "listens", "unlistens", "notifies",
	"holds_cursor", "makes_temp", "locks_advisory", "unlocks_advisory", "holds_other", "loads", "begins", "commits", "rolls_back",
	"prepares_transaction", "chains", "rolls_back_to", "opaque", "unreadable", "saves", "releases", "assigns_locally", "leads_to_temp", "creates",
	"seeds", "assigns_unnamed", "writes", "defines", "reads_sequence", "draws_sequence", "mentions", "calls_unknown",
}

// String is the set as words, for tests and logs.
func (e Effects) String() string {
	var words []string
	for i, name := range effectNames {
		if e&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return strings.Join(words, " ")
}

// Assignment is one parameter that a text sets or resets for the session.
type Assignment struct {
	// Name is folded, with its quotes taken off; empty when the text does not say it, or for RESET ALL. Valid until the Lexer's next
	// Begin.
	Name []byte
	// Value is the value set, when Exact; valid as long as Name.
	Value []byte
	// NameParam and ValueParam are n when it is the bound parameter $n instead.
	NameParam, ValueParam int
	// Reset: it goes back to its default.
	Reset bool
	// Local: for the transaction only. Value then tells values apart, but need not be spelled as the server spells it.
	Local bool
	// Exact: when the statement succeeds the parameter has this value (of type text, and not null, if it is bound), or is Reset.
	// Otherwise the server has to be asked.
	Exact bool
	// Maybe: even when the statement succeeds it may have been left alone.
	Maybe bool
	// Statement is the number of its statement in the text, from 0.
	Statement int
}

// Dialect is how a server reads the text of a client: what changes the rules by which strings end.
type Dialect struct {
	// BackslashEscapes: standard_conforming_strings is off.
	BackslashEscapes bool
	// Doubtful: it is not known whether BackslashEscapes holds, because statements that may change it are on their way.
	Doubtful bool
	// TrailingQuotes: client_encoding is one in which a quote or backslash can be the second byte of a character.
	TrailingQuotes bool
}

// HasTrailingQuotes reports whether ASCII bytes can be part of a longer character in an encoding (by its canonical name).
func HasTrailingQuotes(encoding string) bool {
	switch encoding {
	case "SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "UHC", "GB18030", "JOHAB":
		return true
	}
	return false
}
