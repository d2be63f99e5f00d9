package protocol

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Error is an ErrorResponse or NoticeResponse (manual 54.8). Every field may be empty when it comes from a server.
type Error struct {
	Severity string // not translated: ERROR, FATAL, PANIC, or of a notice WARNING, NOTICE, DEBUG, INFO, LOG
	Code     string // SQLSTATE
	Message  string
	Detail   string
	Hint     string

	Position         int32 // in characters, from 1; 0: none
	InternalPosition int32
	InternalQuery    string
	Where            string

	Schema, Table, Column, DataType, Constraint string

	File    string
	Line    int32
	Routine string
}

// Error is the text for logs: message and code.
func (e *Error) Error() string { return e.Message + " (SQLSTATE " + e.Code + ")" }

// Fatal reports whether the connection ends with it.
func (e *Error) Fatal() bool { return e.Severity == "FATAL" || e.Severity == "PANIC" }

// AsFatal is the same error as the last word on a connection.
func (e *Error) AsFatal() *Error {
	fatal := *e
	fatal.Severity = "FATAL"
	return &fatal
}

// WithDetail is the same error with another detail.
func (e *Error) WithDetail(detail string) *Error {
	other := *e
	other.Detail = detail
	return &other
}

// Append builds an ErrorResponse, with the severity in both S and V.
func (e *Error) Append(dst []byte) []byte {
	m := e.message()
	return encoded(dst, m.Encode)
}

// AppendNotice builds a NoticeResponse.
func (e *Error) AppendNotice(dst []byte) []byte {
	m := pgproto3.NoticeResponse(e.message())
	return encoded(dst, m.Encode)
}

// encoded appends what encode makes. It can fail only for more than 1 GiB, which no text of ours nor of a login comes near; then
// nothing is appended.
func encoded(dst []byte, encode func([]byte) ([]byte, error)) []byte {
	if b, err := encode(dst); err == nil {
		return b
	}
	return dst
}

func (e *Error) message() pgproto3.ErrorResponse {
	return pgproto3.ErrorResponse{
		Severity: field(e.Severity), SeverityUnlocalized: field(e.Severity), Code: field(e.Code), Message: field(e.Message),
		Detail: field(e.Detail), Hint: field(e.Hint), Position: e.Position, InternalPosition: e.InternalPosition,
		InternalQuery: field(e.InternalQuery), Where: field(e.Where), SchemaName: field(e.Schema), TableName: field(e.Table),
		ColumnName: field(e.Column), DataTypeName: field(e.DataType), ConstraintName: field(e.Constraint), File: field(e.File),
		Line: e.Line, Routine: field(e.Routine),
	}
}

// field is a text without zero bytes: one would end the field early, and what is behind it would be read as fields.
func field(s string) string { return strings.ReplaceAll(s, "\x00", "") }

// ParseError reads the body of an ErrorResponse or NoticeResponse, as much of it as is well-formed: a server is not trusted to send
// any field, nor an end. The strings are copies.
func ParseError(body []byte) Error {
	var e Error
	for len(body) > 1 && body[0] != 0 {
		value, rest, ok := cString(body[1:])
		if !ok {
			break
		}
		e.set(body[0], value)
		body = rest
	}
	return e
}

// set stores one field. Severity is that of V (never translated, PostgreSQL 9.6 and later) when there is one, else that of S.
func (e *Error) set(name byte, value string) {
	switch name {
	case 'S':
		if e.Severity == "" {
			e.Severity = value
		}
	case 'V':
		e.Severity = value
	case 'C':
		e.Code = value
	case 'M':
		e.Message = value
	case 'D':
		e.Detail = value
	case 'H':
		e.Hint = value
	case 'P':
		e.Position = number(value)
	case 'p':
		e.InternalPosition = number(value)
	case 'q':
		e.InternalQuery = value
	case 'W':
		e.Where = value
	case 's':
		e.Schema = value
	case 't':
		e.Table = value
	case 'c':
		e.Column = value
	case 'd':
		e.DataType = value
	case 'n':
		e.Constraint = value
	case 'F':
		e.File = value
	case 'L':
		e.Line = number(value)
	case 'R':
		e.Routine = value
	}
}

// number reads a decimal field; 0 if it is none.
func number(s string) int32 {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

// SQLState is the code of an ErrorResponse, nil when it has none. It points into the frame, of which the beginning is enough.
func SQLState(frame []byte) []byte { return errorField(frame, 'C') }

// Fatal reports whether an ErrorResponse ends the connection. The beginning of the frame is enough: the severity comes first.
func Fatal(frame []byte) bool {
	severity := errorField(frame, 'V')
	if severity == nil {
		severity = errorField(frame, 'S')
	}
	return string(severity) == "FATAL" || string(severity) == "PANIC"
}

// errorField is one field of an ErrorResponse, nil when it is not there.
func errorField(frame []byte, name byte) []byte {
	b := frame[min(HeaderBytes, len(frame)):]
	for len(b) > 1 && b[0] != 0 {
		end := bytes.IndexByte(b[1:], 0)
		if end < 0 {
			return nil
		}
		if b[0] == name {
			return b[1 : 1+end]
		}
		b = b[end+2:]
	}
	return nil
}
