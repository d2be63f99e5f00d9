package protocol

import (
	"encoding/binary"
	"io"
	"strings"
)

// MaxStartupBytes is MAX_STARTUP_PACKET_LENGTH of PostgreSQL (libpq/pqcomm.h).
const MaxStartupBytes = 10000

// Codes in the place of a protocol version (manual 54.7).
const (
	sslRequestCode    = 80877103
	gssEncRequestCode = 80877104
	cancelRequestCode = 80877102
)

// StartupKind is what a client's first packet asks for.
type StartupKind uint8

// The kinds of first packet.
const (
	StartupLogin StartupKind = iota
	StartupSSL
	StartupGSS
	StartupCancel
)

// Param is a name and value of a startup packet.
type Param struct{ Name, Value string }

// Startup is a client's first packet.
type Startup struct {
	Kind           StartupKind
	Major, Minor   uint16
	Params         []Param // in order
	Cancel         CancelKey
	UnknownOptions []string // names that begin with _pq_.
}

// Get is the value of a parameter, the last if it is given more than once; "" when it is missing.
func (s *Startup) Get(name string) string {
	value := ""
	for _, p := range s.Params {
		if p.Name == name {
			value = p.Value
		}
	}
	return value
}

// ReadStartup reads exactly one startup packet and not a byte more. The length is checked before anything is allocated. Errors: *Error
// (08P01) for a malformed packet, those of r as they are.
func ReadStartup(r io.Reader) (Startup, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Startup{}, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length < 8 || length > MaxStartupBytes {
		return Startup{}, ErrProtocol("invalid length of startup packet")
	}
	body := make([]byte, length-4)
	if _, err := io.ReadFull(r, body); err != nil {
		return Startup{}, err
	}
	return ParseStartup(body)
}

// ParseStartup reads the body of a startup packet: everything behind its length word.
func ParseStartup(body []byte) (Startup, error) {
	if len(body) < 4 {
		return Startup{}, ErrProtocol("invalid length of startup packet")
	}
	code := binary.BigEndian.Uint32(body)
	rest := body[4:]
	switch code {
	case sslRequestCode, gssEncRequestCode:
		if len(rest) != 0 {
			return Startup{}, ErrProtocol("invalid length of encryption request")
		}
		if code == sslRequestCode {
			return Startup{Kind: StartupSSL}, nil
		}
		return Startup{Kind: StartupGSS}, nil
	case cancelRequestCode:
		return parseCancel(rest)
	}
	s := Startup{Kind: StartupLogin, Major: uint16(code >> 16), Minor: uint16(code)}
	if s.Major != 3 {
		return s, nil // its parameters are anybody's guess
	}
	return s, s.parseParams(rest)
}

func parseCancel(rest []byte) (Startup, error) {
	if len(rest) < 8 || len(rest) > 4+cancelSecretMax {
		return Startup{}, ErrProtocol("invalid length of cancel request")
	}
	key := CancelKey{ProcessID: binary.BigEndian.Uint32(rest), Secret: append([]byte(nil), rest[4:]...)}
	return Startup{Kind: StartupCancel, Cancel: key}, nil
}

func (s *Startup) parseParams(b []byte) error {
	for len(b) > 0 && b[0] != 0 {
		name, rest, ok := cString(b)
		if !ok {
			break
		}
		value, rest, ok := cString(rest)
		if !ok {
			return ErrProtocol("invalid startup packet layout: expected terminator as last byte")
		}
		s.Params = append(s.Params, Param{Name: name, Value: value})
		if strings.HasPrefix(name, "_pq_.") {
			s.UnknownOptions = append(s.UnknownOptions, name)
		}
		b = rest
	}
	if len(b) != 1 || b[0] != 0 {
		return ErrProtocol("invalid startup packet layout: expected terminator as last byte")
	}
	return nil
}

// cString cuts a zero-terminated string off b.
func cString(b []byte) (s string, rest []byte, ok bool) {
	for i, x := range b {
		if x == 0 {
			return string(b[:i]), b[i+1:], true
		}
	}
	return "", nil, false
}

// ReadMessage reads exactly one message during a login. A body longer than maxBodyBytes is an *Error (08P01), before anything is
// allocated for it.
func ReadMessage(r io.Reader, maxBodyBytes int) (messageType byte, body []byte, err error) {
	var head [HeaderBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length < 4 || uint64(length) > uint64(maxBodyBytes)+4 {
		return 0, nil, ErrProtocol("invalid message length")
	}
	body = make([]byte, length-4)
	_, err = io.ReadFull(r, body)
	return head[0], body, err
}

// AppendNegotiateProtocolVersion tells a client the newest minor version of protocol 3 spoken here and the options not understood
// (manual 54.7). The version is the whole number, 3 in its upper half, as PostgreSQL sends it (SendNegotiateProtocolVersion).
func AppendNegotiateProtocolVersion(dst []byte, newestMinor uint16, unknown []string) []byte {
	length := 4 + 4 + 4
	for _, name := range unknown {
		length += len(name) + 1
	}
	dst = append(dst, ServerNegotiateProtocolVersion)
	dst = binary.BigEndian.AppendUint32(dst, uint32(length))
	dst = binary.BigEndian.AppendUint32(dst, 3<<16|uint32(newestMinor))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(unknown)))
	for _, name := range unknown {
		dst = append(append(dst, name...), 0)
	}
	return dst
}

// ParseOptions reads the startup parameter "options" as PostgreSQL's command line does (pg_split_opts): words separated by white space, a
// backslash escapes a character; "-c name=value", "-cname=value" and "--name=value" are understood. The error is an *Error.
func ParseOptions(options string) ([]Param, error) {
	var params []Param
	words := splitOptions(options)
	for i := 0; i < len(words); i++ {
		w := words[i]
		setting := ""
		switch {
		case w == "-c" && i+1 < len(words):
			i++
			setting = words[i]
		case strings.HasPrefix(w, "-c") && len(w) > 2:
			setting = w[2:]
		case strings.HasPrefix(w, "--"):
			setting = w[2:]
		}
		name, value, ok := strings.Cut(setting, "=")
		if !ok || name == "" {
			return nil, &Error{
				Severity: "FATAL", Code: "42601", Message: "invalid command-line argument for server process: " + w,
				Hint: "In the startup parameter \"options\", -c name=value and --name=value are understood.",
			}
		}
		params = append(params, Param{Name: strings.ReplaceAll(name, "-", "_"), Value: value})
	}
	return params, nil
}

func splitOptions(s string) []string {
	var words []string
	var word []byte
	inWord := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ' ' || c >= '\t' && c <= '\r':
			if inWord {
				words, word, inWord = append(words, string(word)), word[:0], false
			}
			continue
		case c == '\\' && i+1 < len(s):
			i++
			word = append(word, s[i])
		case c == '\\':
		default:
			word = append(word, c)
		}
		inWord = true
	}
	if inWord {
		words = append(words, string(word))
	}
	return words
}
