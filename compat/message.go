package compat

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// EncodeLine is the messages of a line, parted by "|", as bytes. A message is its name in the manual and its fields; those left out
// are empty:
//
//	Query "sql" | Parse name "sql" oid... | Bind portal statement value... | Describe S name | Describe P name | Execute portal rows
//	Close S name | Close P name | Sync | Flush | Terminate | CopyData "text" | CopyDone | CopyFail "why" | FunctionCall oid value...
//	PasswordMessage "text" | Raw 51 00 00 00 04 | Startup 3.0 name=value... | SSLRequest | GSSENCRequest | CancelRequest pid secret
//
// A value is text, NULL, or \x and hexadecimal digits for the binary format; "result=text,binary" asks for results in these formats, one
// for each column or one for all ("binary", "text" or a number). In quotes, \n,
// \t, \", \\ and \x00 mean what they do in Go, and {1000*ab} is ab a thousand times. xN behind a message repeats it.
func EncodeLine(line string) ([]byte, error) {
	var out []byte
	for _, text := range splitMessages(line) {
		w, err := splitWords(text)
		if err != nil {
			return nil, err
		}
		if len(w) == 0 {
			return nil, fmt.Errorf("an empty message in %q", line)
		}
		times := 1
		if n, err := strconv.Atoi(strings.TrimPrefix(w[len(w)-1], "x")); err == nil && strings.HasPrefix(w[len(w)-1], "x") && len(w) > 1 {
			times, w = n, w[:len(w)-1]
		}
		b, err := encode(w)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		for range times {
			out = append(out, b...)
		}
	}
	return out, nil
}

// encode is one message.
func encode(w []string) ([]byte, error) {
	switch w[0] {
	case "Raw":
		return parseHex(strings.Join(w[1:], ""))
	case "Startup":
		up, err := parseStartup(w[1:])
		return startupBytes(up.Version, up.Params), err
	}
	m, err := message(w)
	if err != nil {
		return nil, err
	}
	return m.Encode(nil)
}

func message(w []string) (pgproto3.FrontendMessage, error) {
	field := func(i int) string {
		if i < len(w) {
			return w[i]
		}
		return ""
	}
	switch w[0] {
	case "Query":
		return &pgproto3.Query{String: field(1)}, nil
	case "Parse":
		m := &pgproto3.Parse{Name: field(1), Query: field(2)}
		for _, word := range w[min(3, len(w)):] {
			oid, err := strconv.ParseUint(word, 10, 32)
			if err != nil {
				return nil, err
			}
			m.ParameterOIDs = append(m.ParameterOIDs, uint32(oid))
		}
		return m, nil
	case "Bind":
		return bind(field(1), field(2), w[min(3, len(w)):])
	case "Describe", "Close":
		object := byte('S')
		if field(1) != "" {
			object = field(1)[0]
		}
		if w[0] == "Describe" {
			return &pgproto3.Describe{ObjectType: object, Name: field(2)}, nil
		}
		return &pgproto3.Close{ObjectType: object, Name: field(2)}, nil
	case "Execute":
		rows, err := strconv.ParseUint("0"+field(2), 10, 32)
		return &pgproto3.Execute{Portal: field(1), MaxRows: uint32(rows)}, err
	case "Sync":
		return &pgproto3.Sync{}, nil
	case "Flush":
		return &pgproto3.Flush{}, nil
	case "Terminate":
		return &pgproto3.Terminate{}, nil
	case "CopyData":
		return &pgproto3.CopyData{Data: []byte(field(1))}, nil
	case "CopyDone":
		return &pgproto3.CopyDone{}, nil
	case "CopyFail":
		return &pgproto3.CopyFail{Message: field(1)}, nil
	case "PasswordMessage":
		return &pgproto3.PasswordMessage{Password: field(1)}, nil
	case "SSLRequest":
		return &pgproto3.SSLRequest{}, nil
	case "GSSENCRequest":
		return &pgproto3.GSSEncRequest{}, nil
	case "CancelRequest":
		secret, err := parseHex(field(2))
		pid, _ := strconv.ParseUint("0"+field(1), 10, 32)
		return &pgproto3.CancelRequest{ProcessID: uint32(pid), SecretKey: secret}, err
	case "FunctionCall":
		return functionCall(field(1), w[min(2, len(w)):])
	}
	return nil, fmt.Errorf("no message is called %s", w[0])
}

func bind(portal, statement string, words []string) (pgproto3.FrontendMessage, error) {
	m := &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: statement}
	var err error
	if last := len(words) - 1; last >= 0 && strings.HasPrefix(words[last], "result=") {
		if m.ResultFormatCodes, err = formats(strings.TrimPrefix(words[last], "result=")); err != nil {
			return nil, err
		}
		words = words[:last]
	}
	m.ParameterFormatCodes, m.Parameters, err = values(words)
	return m, err
}

// formats are the codes of result=.
func formats(list string) (codes []int16, err error) {
	for word := range strings.SplitSeq(list, ",") {
		code, err := strconv.ParseInt(strings.NewReplacer("text", "0", "binary", "1").Replace(word), 10, 16)
		if err != nil {
			return nil, err
		}
		codes = append(codes, int16(code))
	}
	return codes, nil
}

func functionCall(oid string, words []string) (pgproto3.FrontendMessage, error) {
	n, err := strconv.ParseUint("0"+oid, 10, 32)
	if err != nil {
		return nil, err
	}
	m := &pgproto3.FunctionCall{Function: uint32(n)}
	formats, args, err := values(words)
	for _, f := range formats {
		m.ArgFormatCodes = append(m.ArgFormatCodes, uint16(f))
	}
	m.Arguments = args
	return m, err
}

// values are parameters with their formats.
func values(words []string) (formats []int16, out [][]byte, err error) {
	for _, word := range words {
		digits, binaryFormat := strings.CutPrefix(word, `\x`)
		switch {
		case binaryFormat:
			b, err := parseHex(digits)
			if err != nil {
				return nil, nil, err
			}
			formats, out = append(formats, 1), append(out, b)
		case word == "NULL":
			formats, out = append(formats, 0), append(out, nil)
		default:
			formats, out = append(formats, 0), append(out, []byte(word))
		}
	}
	return formats, out, nil
}

func parseHex(text string) ([]byte, error) {
	return hex.DecodeString(strings.ReplaceAll(text, " ", ""))
}

// splitMessages parts a line at each "|" outside quotes.
func splitMessages(line string) []string {
	var out []string
	start, quoted := 0, false
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && quoted:
			i++
		case line[i] == '"':
			quoted = !quoted
		case line[i] == '|' && !quoted:
			out = append(out, line[start:i])
			start = i + 1
		}
	}
	return append(out, line[start:])
}

// splitWords parts a message into its words; quotes hold one together, or part of one.
func splitWords(s string) ([]string, error) {
	var out []string
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		word := ""
		for s != "" && s[0] != ' ' {
			if s[0] != '"' {
				end := strings.IndexAny(s, ` "`)
				if end < 0 {
					end = len(s)
				}
				word, s = word+s[:end], s[end:]
				continue
			}
			quoted, err := strconv.QuotedPrefix(s)
			if err != nil {
				return nil, fmt.Errorf("%w: %s", err, s)
			}
			text, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, err
			}
			word, s = word+expand(text), s[len(quoted):]
		}
		out = append(out, word)
	}
	return out, nil
}

// expand writes {1000*ab} out.
func expand(s string) string {
	before, rest, found := strings.Cut(s, "{")
	if !found {
		return s
	}
	inner, after, closed := strings.Cut(rest, "}")
	count, what, star := strings.Cut(inner, "*")
	n, err := strconv.Atoi(count)
	if !closed || !star || err != nil {
		return before + "{" + expand(rest)
	}
	return before + strings.Repeat(what, n) + expand(after)
}

// startupPacket is the first packet of a client of database.
func startupPacket(up Startup, database string) []byte {
	if up.Raw != nil {
		return up.Raw
	}
	params := [][2]string{{"user", "postgres"}, {"database", database}}
	for _, p := range up.Params {
		if p[1] == "" && p[0] == "user" {
			params = params[1:]
			continue
		}
		params = append(params, p)
	}
	return startupBytes(up.Version, params)
}

func startupBytes(version uint32, params [][2]string) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 4), version)
	for _, p := range params {
		b = append(append(append(append(b, p[0]...), 0), p[1]...), 0)
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}
