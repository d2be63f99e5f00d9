package compat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// names are the messages of a server (manual, "Message Formats").
var names = map[byte]string{
	'R': "Authentication", 'K': "BackendKeyData", '2': "BindComplete", '3': "CloseComplete", 'C': "CommandComplete", 'd': "CopyData",
	'c': "CopyDone", 'G': "CopyInResponse", 'H': "CopyOutResponse", 'W': "CopyBothResponse", 'D': "DataRow", 'I': "EmptyQueryResponse",
	'E': "ErrorResponse", 'V': "FunctionCallResponse", 'v': "NegotiateProtocolVersion", 'n': "NoData", 'N': "NoticeResponse",
	'A': "NotificationResponse", 't': "ParameterDescription", 'S': "ParameterStatus", '1': "ParseComplete", 's': "PortalSuspended",
	'Z': "ReadyForQuery", 'T': "RowDescription",
}

// render is a message as one line that says all that must be equal. What differs between two connections by its nature is left out:
// process ids, secrets (not their length), the OIDs of tables and the place in the source where an error was raised.
func render(kind byte, body []byte) string {
	name := names[kind]
	switch {
	case name == "":
		return fmt.Sprintf("message %q %s", kind, quote(body))
	case len(body) == 0:
		return name
	}
	switch kind {
	case 'K':
		return fmt.Sprintf("%s with a secret of %d bytes", name, len(body)-4)
	case 'A':
		return name + " " + quote(body[min(4, len(body)):])
	case 'E', 'N':
		return name + errorFields(body)
	case 'D':
		return name + dataRow(body)
	case 'T':
		return name + " " + quote(withoutTables(body))
	case 'Z':
		return name + " " + string(body)
	case 'S', 'C':
		return name + " " + strings.ReplaceAll(strings.TrimRight(string(body), "\x00"), "\x00", "=")
	}
	return name + " " + quote(body)
}

// quoteMax is the number of bytes shown of a value. Longer values show their length and a checksum too.
const quoteMax = 160

func quote(b []byte) string {
	if len(b) <= quoteMax {
		return strconv.Quote(string(b))
	}
	return fmt.Sprintf("%q... of %d bytes, checksum %08x", b[:32], len(b), crc32.ChecksumIEEE(b))
}

// errorFields are all fields but file, line and routine.
func errorFields(body []byte) string {
	var out strings.Builder
	for len(body) > 1 {
		end := bytes.IndexByte(body, 0)
		if end < 0 {
			return out.String() + " unterminated " + quote(body)
		}
		switch body[0] {
		case 'F', 'L', 'R':
		case 'V', 'S', 'C':
			fmt.Fprintf(&out, " %s", body[1:end])
		default:
			fmt.Fprintf(&out, " %c=%s", body[0], quote(body[1:end]))
		}
		body = body[end+1:]
	}
	return out.String()
}

func dataRow(body []byte) string {
	if len(body) < 2 {
		return " too short"
	}
	var out strings.Builder
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	for range n {
		if len(body) < 4 {
			return out.String() + " too short"
		}
		length := int32(binary.BigEndian.Uint32(body))
		body = body[4:]
		if length < 0 {
			out.WriteString(" NULL")
			continue
		}
		if int(length) > len(body) {
			return out.String() + " too short"
		}
		out.WriteString(" " + quote(body[:length]))
		body = body[length:]
	}
	return out.String()
}

// withoutTables zeroes the tables' OIDs in a RowDescription: each target has tables of its own.
func withoutTables(body []byte) []byte {
	b := bytes.Clone(body)
	at := 2
	for at < len(b) {
		end := bytes.IndexByte(b[at:], 0)
		if end < 0 || at+end+19 > len(b) {
			return b
		}
		at += end + 1
		clear(b[at : at+4])
		at += 18
	}
	return b
}
