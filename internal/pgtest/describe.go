package pgtest

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Describe is a server's message as one short line: its name in the manual and what tells it from others of its kind, as in
// "DataRow 1 NULL", "CommandComplete SELECT 1", "ReadyForQuery I", "ErrorResponse 42P01", "ParameterStatus TimeZone=UTC".
func Describe(m pgproto3.BackendMessage) string {
	name := reflect.TypeOf(m).Elem().Name()
	switch m := m.(type) {
	case *pgproto3.DataRow:
		for _, v := range m.Values {
			if v == nil {
				name += " NULL"
			} else {
				name += fmt.Sprintf(" %.100s", v)
			}
		}
	case *pgproto3.RowDescription:
		for _, f := range m.Fields {
			name += " " + string(f.Name)
		}
	case *pgproto3.CommandComplete:
		name += " " + string(m.CommandTag)
	case *pgproto3.ReadyForQuery:
		name += " " + string(rune(m.TxStatus))
	case *pgproto3.ErrorResponse:
		name += " " + m.Code
	case *pgproto3.NoticeResponse:
		name += " " + m.Code
	case *pgproto3.ParameterStatus:
		name += " " + m.Name + "=" + m.Value
	case *pgproto3.NotificationResponse:
		name += " " + m.Channel + " " + m.Payload
	case *pgproto3.CopyData:
		name += fmt.Sprintf(" %.100q", m.Data)
	case *pgproto3.NegotiateProtocolVersion:
		name += strings.TrimRight(fmt.Sprintf(" 3.%d %s", m.NewestMinorProtocol&0xffff, strings.Join(m.UnrecognizedOptions, " ")), " ")
	}
	return name
}

// DescribeAll is Describe for each.
func DescribeAll(messages []pgproto3.BackendMessage) []string {
	lines := make([]string, len(messages))
	for i, m := range messages {
		lines[i] = Describe(m)
	}
	return lines
}

// asynchronous says whether a server may send the message at any time (manual, "Asynchronous Operations").
func asynchronous(m pgproto3.BackendMessage) bool {
	switch m.(type) {
	case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
		return true
	}
	return false
}
