package compat

import "strings"

// Expected is a difference that a port may show, and must: when it is gone, its entry has to go too.
type Expected struct {
	Script string
	// Port is the pool mode, or "both".
	Port string
	// Why it is so, and whether it will stay.
	Why string
	// Pending marks a feature that is still to be built: the script is not played there, but for `go test ./compat -args -pending`.
	Pending bool
	// Sometimes: not always, for example because it depends on what the server has that the client gets.
	Sometimes bool
	// Since is the first major version of PostgreSQL, and Until the first again, with which it is so; 0: all.
	Since, Until int
	// Diff is the whole difference from PostgreSQL's own answer, as Diff writes it. "..." ends a line of which only the beginning
	// matters; "- *" and "+ *" stand for any number of such lines.
	Diff []string
}

const (
	// kinder: PostgreSQL closes the socket without a word.
	kinder = "the pooler says why before it closes the socket; PostgreSQL only logs it"
	// newer: see startup_minor_known.
	newer = "the pooler speaks 3.2 with its clients whatever the server speaks with it, long cancel keys too: both are its own"
	// late: see startup_param_bad.
	late = "a login waits for no server, so what PostgreSQL says of a startup parameter comes with the first statement, and a hint"
	// spelled: see startup_defaults_reset.
	spelled   = "a login waits for no server: a startup parameter is reported as it was given, and again as PostgreSQL spells it"
	broken    = "the pooler ends a broken stream itself; PostgreSQL fails the COPY first, and then the connection"
	confused  = "PostgreSQL 18 is left confused by a Query inside a batch, and fails the statement after the Sync; here that runs on another server"
	walsender = "replication connections cannot share a server and have no transactions: only the session port has them"
)

// ExpectedDifferences lists all differences that are allowed, with the reasons. Any other difference is a fault.
var ExpectedDifferences = []Expected{
	{Script: "bad_length", Port: "both", Why: kinder, Diff: []string{`+ client< ErrorResponse FATAL FATAL 08P01 M="invalid message length"`}},
	{Script: "bad_length_huge", Port: "both", Why: kinder, Diff: []string{`+ client< ErrorResponse FATAL FATAL 08P01 M="invalid message length"`}},
	{Script: "bad_length_in_batch", Port: "both", Why: kinder, Diff: []string{`+ client< ErrorResponse FATAL FATAL 08P01 M="invalid message length"`}},
	{Script: "startup_garbage", Port: "both", Why: kinder, Diff: []string{`+ client< ErrorResponse FATAL FATAL 08P01 M="invalid length of startup packet"`}},
	{Script: "startup_short", Port: "both", Why: kinder, Diff: []string{`+ client< ErrorResponse FATAL FATAL 08P01 M="invalid length of startup packet"`}},
	{Script: "bad_length_parse", Port: "both", Why: kinder, Diff: []string{`+ client< ErrorResponse FATAL FATAL 08P01 M="invalid message length"`}},
	{
		Script: "startup_cancel_short", Port: "both", Why: kinder,
		Diff: []string{`+ client< ErrorResponse FATAL FATAL 08P01 M="invalid length of cancel key in cancel request packet"`},
	},
	{
		Script: "startup_ssl_twice", Port: "both", Why: "the pooler names what is wrong; PostgreSQL takes the request for a protocol version",
		Diff: []string{
			`- client< ErrorResponse FATAL FATAL 0A000 M="unsupported frontend protocol 1234.5679: server supports 3.0 to 3...`,
			`+ client< ErrorResponse FATAL FATAL 08P01 M="more than one request for encryption of each kind"`,
		},
	},
	{
		Script: "copy_in_bad_type", Port: "both", Why: broken,
		Diff: []string{
			`- client< ErrorResponse ERROR ERROR 08P01 M="unexpected message type 0x7A during COPY from stdin"...`,
			`- client< ErrorResponse FATAL FATAL 08P01 M="terminating connection because protocol synchronization was lost"`,
			`+ client< ErrorResponse FATAL FATAL 08P01 M="invalid frontend message type 122"`,
		},
	},
	{
		Script: "copy_in_bad_length", Port: "both", Why: broken,
		Diff: []string{
			`- client< ErrorResponse ERROR ERROR 08006 M="unexpected EOF on client connection with an open transaction"...`,
			`- client< ErrorResponse FATAL FATAL 08P01 M="terminating connection because protocol synchronization was lost"`,
			`+ client< ErrorResponse FATAL FATAL 08P01 M="invalid message length"`,
		},
	},
	{
		Script: "copy_in_terminate", Port: "both",
		Why: "a client that has said goodbye is closed at once when nothing it asked for is still being answered; PostgreSQL takes the goodbye " +
			"for a broken COPY and says so to nobody",
		Diff: []string{
			`- client< ErrorResponse ERROR ERROR 08P01 M="unexpected message type 0x58 during COPY from stdin"...`,
			`- client< ErrorResponse FATAL FATAL 08P01 M="terminating connection because protocol synchronization was lost"`,
		},
	},
	{
		Script: "pipeline_query_in_batch", Port: "transaction", Since: 18,
		Why: confused,
		Diff: []string{
			`- client< ErrorResponse ERROR ERROR XX000 M="StartTransactionCommand: unexpected state STARTED"`,
			`+ client< NoticeResponse WARNING WARNING 25P01 M="there is no transaction in progress"`,
			`+ client< CommandComplete ROLLBACK`,
		},
	},
	{
		Script: "pipeline_function_call_in_batch", Port: "transaction", Since: 18,
		Why: confused,
		Diff: []string{
			`- client< ErrorResponse ERROR ERROR XX000 M="StartTransactionCommand: unexpected state STARTED"`,
			`+ client< NoticeResponse WARNING WARNING 25P01 M="there is no transaction in progress"`,
			`+ client< CommandComplete ROLLBACK`,
		},
	},
	{
		Script: "startup_minor_known", Port: "both", Until: 18, Why: newer,
		Diff: []string{
			`- client< NegotiateProtocolVersion "\x00\x03\x00\x00\x00\x00\x00\x00"`,
			`- client< BackendKeyData with a secret of 4 bytes`,
			`+ client< BackendKeyData with a secret of 32 bytes`,
		},
	},
	{
		Script: "cancel_long_key", Port: "both", Until: 18, Why: newer,
		Diff: []string{
			`- client< NegotiateProtocolVersion "\x00\x03\x00\x00\x00\x00\x00\x00"`,
			`- client< BackendKeyData with a secret of 4 bytes`,
			`+ client< BackendKeyData with a secret of 32 bytes`,
		},
	},
	{
		Script: "startup_minor_greased", Port: "both", Until: 18, Why: newer,
		Diff: []string{
			`- client< NegotiateProtocolVersion "\x00\x03\x00\x00\x00\x00\x00\x00"`,
			`+ client< NegotiateProtocolVersion "\x00\x03\x00\x02\x00\x00\x00\x00"`,
			`- client< BackendKeyData with a secret of 4 bytes`,
			`+ client< BackendKeyData with a secret of 32 bytes`,
		},
	},
	{
		Script: "startup_minor_and_options", Port: "both", Until: 18, Why: newer,
		Diff: []string{
			`- client< NegotiateProtocolVersion "\x00\x03\x00\x00\x00\x00\x00\x03_pq_.a\x00_pq_.b\x00_pq_.c\x00"`,
			`+ client< NegotiateProtocolVersion "\x00\x03\x00\x02\x00\x00\x00\x03_pq_.a\x00_pq_.b\x00_pq_.c\x00"`,
			`- client< BackendKeyData with a secret of 4 bytes`,
			`+ client< BackendKeyData with a secret of 32 bytes`,
		},
	},
	{
		Script: "startup_minor_one", Port: "both", Until: 18, Why: newer,
		Diff: []string{`- client< NegotiateProtocolVersion "\x00\x03\x00\x00\x00\x00\x00\x00"`},
	},
	{
		Script: "startup_major_unknown", Port: "both", Why: newer + "; and there is a hint",
		Diff: []string{
			`- client< ErrorResponse FATAL FATAL 0A000 M="unsupported frontend protocol 4.0: server supports 3.0 to 3...`,
			`+ client< ErrorResponse FATAL FATAL 0A000 M="unsupported frontend protocol 4.0: server supports 3.0 to 3.2" H=...`,
		},
	},
	{
		Script: "startup_major_old", Port: "both", Why: "PostgreSQL answers version 2 in version 2, in which a message has no length; the pooler speaks 3 only",
		Diff: []string{
			`- client< message 'E' of length 1178686529`,
			`+ client< ErrorResponse FATAL FATAL 0A000 M="unsupported frontend protocol 2.0: server supports 3.0 to 3.2" H=...`,
			`+ client< closed`,
		},
	},
	{
		Script: "startup_param_bad", Port: "both", Why: late,
		Diff: []string{
			`- client< ErrorResponse FATAL FATAL 22023 M="invalid value for parameter \"client_encoding\": \"KLINGON\""`,
			`+ *`,
			`+ client< ReadyForQuery I`,
			`+ client< ErrorResponse FATAL FATAL 22023 M="invalid value for parameter \"client_encoding\": \"KLINGON\"" H=...`,
		},
	},
	{
		Script: "startup_param_unknown", Port: "both", Why: late,
		Diff: []string{
			`- client< ErrorResponse FATAL FATAL 42704 M="unrecognized configuration parameter \"no_such_setting\""`,
			`+ *`,
			`+ client< ReadyForQuery I`,
			`+ client< ErrorResponse FATAL FATAL 42704 M="unrecognized configuration parameter \"no_such_setting\"" H=...`,
		},
	},
	{
		Script: "startup_options_bad", Port: "both", Why: late,
		Diff: []string{
			`- client< ErrorResponse FATAL FATAL 42704 M="unrecognized configuration parameter \"nosuch\""`,
			`+ *`,
			`+ client< ReadyForQuery I`,
			`+ client< ErrorResponse FATAL FATAL 42704 M="unrecognized configuration parameter \"nosuch\"" H=...`,
		},
	},
	{
		Script: "startup_defaults_reset", Port: "both", Why: spelled,
		Diff: []string{
			`- client< ParameterStatus DateStyle=German, DMY`, `+ client< ParameterStatus DateStyle=German`,
			`+ client< ParameterStatus DateStyle=German, DMY`,
		},
	},
	{
		Script: "startup_application_name_bytes", Port: "both", Why: spelled,
		Diff: []string{
			`- client< ParameterStatus application_name=caf...`, `+ client< ParameterStatus application_name=caf...`,
			`+ client< ParameterStatus application_name=caf...`,
		},
	},
	{
		Script: "statement_in_failed_transaction", Port: "transaction", Sometimes: true,
		Why: "the server of a failed transaction can be given no statement that it lacks, not even to describe it (25P02); Describe is the one use " +
			"that PostgreSQL allows there, of a statement that returns no rows",
		Diff: []string{
			`- client< ParameterDescription "\x00\x00"`, `- client< NoData`,
			`+ client< ErrorResponse ERROR ERROR 25P02 M="current transaction is aborted, commands ignored until end of transaction block"`,
		},
	},
	{
		Script: "sql_execute_copy", Port: "both", // on the session port for clients that may lend their servers
		Why: "in a text that may begin a COPY the statements of the protocol are not put in place: what would have to follow it could be taken for data",
		Diff: []string{
			`- client< RowDescription "\x00\x01n\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00"`,
			`- client< DataRow "1"`, `- client< DataRow "2"`, `- client< CommandComplete SELECT 2`,
			`- client< CopyInResponse "\x00\x00\x01\x00\x00"`, `- client< CommandComplete COPY 1`,
			`+ client< ErrorResponse ERROR ERROR 26000 M="prepared statement \"n\" does not exist"`,
			`- client< DataRow "9"`, `- client< CommandComplete SELECT 3`, `+ client< CommandComplete SELECT 2`,
		},
	},
	{
		Script: "sql_execute_copy", Port: "session",
		Why: "likewise for a session client that may lend its server (lend_idle_after): in a text that may begin a COPY the statements of the protocol are not put in place: what would have to follow it could be taken for data",
		Diff: []string{
			`- client< RowDescription "\x00\x01n\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00"`,
			`- client< DataRow "1"`, `- client< DataRow "2"`, `- client< CommandComplete SELECT 2`,
			`- client< CopyInResponse "\x00\x00\x01\x00\x00"`, `- client< CommandComplete COPY 1`,
			`+ client< ErrorResponse ERROR ERROR 26000 M="prepared statement \"n\" does not exist"`,
			`- client< DataRow "9"`, `- client< CommandComplete SELECT 3`, `+ client< CommandComplete SELECT 2`,
		},
	},
	{
		Script: "isolation_behind_describe", Port: "transaction",
		Why: "the statement is prepared on this server first, in the same batch, and that takes a snapshot; no driver sends a BEGIN there",
		Diff: []string{
			`- client< CommandComplete BEGIN`, `- client< ReadyForQuery T`, `- client< ReadyForQuery T`, `- client< ReadyForQuery T`,
			`+ client< ErrorResponse ERROR ERROR 25001 M="SET TRANSACTION ISOLATION LEVEL must be called before any query"`,
			`+ client< ReadyForQuery I`, `+ client< ReadyForQuery I`, `+ client< ReadyForQuery I`,
			`+ client< NoticeResponse WARNING WARNING 25P01 M="there is no transaction in progress"`,
		},
	},
	{
		Script: "set_config_from_table", Port: "transaction",
		Why: "a name that only the server knows: PostgreSQL lists no custom settings, so they cannot be found; the server is cleaned",
		Diff: []string{
			`- client< DataRow "from a table"`, `+ client< DataRow ""`,
		},
	},
	{
		Script: "startup_replication", Port: "transaction", Why: walsender,
		Diff: []string{`- *`, `+ client< ErrorResponse FATAL FATAL 0A000...`},
	},
	{
		Script: "startup_replication_database", Port: "transaction", Why: walsender,
		Diff: []string{`- *`, `+ client< ErrorResponse FATAL FATAL 0A000...`},
	},
	{
		Script: "startup_replication_parameters", Port: "transaction", Why: walsender,
		Diff: []string{`- *`, `+ client< ErrorResponse FATAL FATAL 0A000...`},
	},
	{
		Script: "startup_replication_bad_parameter", Port: "transaction", Why: walsender,
		Diff: []string{`- *`, `+ client< ErrorResponse FATAL FATAL 0A000...`},
	},
	{
		Script: "replication_sql", Port: "transaction", Why: walsender,
		Diff: []string{`- *`, `+ client< ErrorResponse FATAL FATAL 0A000...`},
	},
	{
		Script: "statement_types_changed", Port: "transaction", Pending: true,
		Why: "a server that holds a text does not parse it anew for the next client: the types of its parameters may be those of then, where nothing fails " +
			"while the client asks for them",
	},
}

// tolerated takes out of a difference what may be so in any script, on the transaction port: of a message with two faults another one is
// named first. A Bind of an unnamed statement whose fate is not certain is preceded by its Parse, which fails with 25P02 in a failed
// transaction; a Bind of a statement that is not there fails with 26000 though it may be malformed besides.
func tolerated(diff []string) []string {
	var rest []string
	for i := 0; i < len(diff); i++ {
		if i+1 < len(diff) && otherFault(diff[i], diff[i+1]) {
			i++
			continue
		}
		rest = append(rest, diff[i])
	}
	return rest
}

// otherFault compares PostgreSQL's line with the port's.
func otherFault(its, ports string) bool {
	const fault = "< ErrorResponse ERROR ERROR "
	if its[0] != '-' || ports[0] != '+' || !strings.Contains(its, fault) {
		return false
	}
	return strings.Contains(ports, fault+"25P02 ") || strings.Contains(ports, fault+"26000 ") && strings.Contains(its, fault+"08P01 ")
}

const deferring = "deferring"

// expectedOf is the entry for a port and a script in front of a major version of PostgreSQL; without one it expects no difference.
func expectedOf(script, port string, version int) Expected {
	if port == deferring {
		port = "transaction"
	}
	for _, e := range ExpectedDifferences {
		if e.Script == script && (e.Port == port || e.Port == "both") && version >= e.Since && (e.Until == 0 || version < e.Until) {
			return e
		}
	}
	return Expected{}
}

// matches compares a difference with the expected one.
func matches(diff, want []string) bool {
	for len(want) > 0 {
		sign, any := strings.CutSuffix(want[0], " *")
		if any {
			for len(diff) > 0 && strings.HasPrefix(diff[0], sign) && (len(want) == 1 || !lineMatches(diff[0], want[1])) {
				diff = diff[1:]
			}
			want = want[1:]
			continue
		}
		if len(diff) == 0 || !lineMatches(diff[0], want[0]) {
			return false
		}
		diff, want = diff[1:], want[1:]
	}
	return len(diff) == 0
}

func lineMatches(line, want string) bool {
	if beginning, cut := strings.CutSuffix(want, "..."); cut {
		return strings.HasPrefix(line, beginning)
	}
	return line == want
}
