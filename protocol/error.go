package protocol

import (
	"github.com/jackc/pgx/v5/pgproto3"
)

// Error is an ErrorResponse or NoticeResponse (manual 54.8). Every field may be empty when it comes from a server.
type Error struct {
	Severity, Code, Message, Detail, Hint                            string
	Position, InternalPosition                                       int32
	InternalQuery, Where, Schema, Table, Column, DataType, Constrain string
	File, Routine                                                    string
	Line                                                             int32
}

// Error is the text for logs: code and message.
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
	m := pgproto3.ErrorResponse(e.message())
	dst, _ = m.Encode(dst) // fails for messages over 1 GiB only
	return dst
}

// AppendNotice builds a NoticeResponse.
func (e *Error) AppendNotice(dst []byte) []byte {
	m := pgproto3.NoticeResponse(e.message())
	dst, _ = m.Encode(dst)
	return dst
}

func (e *Error) message() pgproto3.ErrorResponse {
	return pgproto3.ErrorResponse{
		Severity: e.Severity, SeverityUnlocalized: e.Severity, Code: e.Code, Message: e.Message, Detail: e.Detail, Hint: e.Hint,
		Position: e.Position, InternalPosition: e.InternalPosition, InternalQuery: e.InternalQuery, Where: e.Where,
		SchemaName: e.Schema, TableName: e.Table, ColumnName: e.Column, DataTypeName: e.DataType, ConstraintName: e.Constrain,
		File: e.File, Line: e.Line, Routine: e.Routine,
	}
}

// ParseError reads the body of an ErrorResponse or NoticeResponse, as much of it as is well-formed.
func ParseError(body []byte) Error {
	var e Error
	fields := map[byte]*string{
		'C': &e.Code, 'M': &e.Message, 'D': &e.Detail, 'H': &e.Hint, 'q': &e.InternalQuery, 'W': &e.Where, 's': &e.Schema,
		't': &e.Table, 'c': &e.Column, 'd': &e.DataType, 'n': &e.Constrain, 'F': &e.File, 'R': &e.Routine,
	}
	for len(body) > 1 && body[0] != 0 {
		value, rest, ok := cString(body[1:])
		if !ok {
			break
		}
		switch field := body[0]; {
		case field == 'V', field == 'S' && e.Severity == "":
			e.Severity = value
		case fields[field] != nil:
			*fields[field] = value
		}
		body = rest
	}
	return e
}

// SQLState is the code of a whole ErrorResponse, nil when it has none. It points into the frame.
func SQLState(frame []byte) []byte {
	b := frame[min(HeaderBytes, len(frame)):]
	for len(b) > 1 && b[0] != 0 {
		end := 1
		for end < len(b) && b[end] != 0 {
			end++
		}
		if b[0] == 'C' {
			return b[1:end]
		}
		b = b[min(end+1, len(b)):]
	}
	return nil
}
