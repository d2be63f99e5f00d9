package protocol

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
)

// MaxStartupBytes bounds a startup packet behind its length word: MAX_STARTUP_PACKET_LENGTH of PostgreSQL (libpq/pqcomm.h), which
// counts it the same way (tcop/backend_startup.c, ProcessStartupPacket).
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

// Param is a name and value of a startup packet, as the client spelled them.
type Param struct{ Name, Value string }

// Startup is a client's first packet. Of a major version other than 3 only the version is known.
type Startup struct {
	Kind           StartupKind
	Major, Minor   uint16
	Params         []Param // in order; those of UnknownOptions are among them
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
	if length < 8 || length > 4+MaxStartupBytes {
		return Startup{}, ErrProtocol("invalid length of startup packet")
	}
	body := make([]byte, length-4)
	if _, err := io.ReadFull(r, body); err != nil {
		return Startup{}, err
	}
	return ParseStartup(body)
}

// AppendSSLRequest builds the packet that asks a server for TLS. The answer is one byte, S or N.
func AppendSSLRequest(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, 8), sslRequestCode)
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

// parseCancel reads the process id and the secret of a CancelRequest.
func parseCancel(rest []byte) (Startup, error) {
	if len(rest) < 4+cancelSecretMin || len(rest) > 4+cancelSecretMax {
		return Startup{}, ErrProtocol("invalid length of cancel key in cancel request packet")
	}
	key := CancelKey{ProcessID: binary.BigEndian.Uint32(rest), Secret: append([]byte(nil), rest[4:]...)}
	return Startup{Kind: StartupCancel, Cancel: key}, nil
}

// parseParams reads names and values up to the zero byte that must be the packet's last.
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
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		return "", nil, false
	}
	return string(b[:end]), b[end+1:], true
}

// ReadMessage reads exactly one message during a login. A body longer than maxBodyBytes is an *Error (08P01), before anything is
// allocated for it.
func ReadMessage(r io.Reader, maxBodyBytes int) (messageType byte, body []byte, err error) {
	var head [HeaderBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length < lengthMin || int64(length)-lengthMin > int64(maxBodyBytes) {
		return 0, nil, ErrProtocol("invalid message length")
	}
	body = make([]byte, length-lengthMin)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	return head[0], body, nil
}

// AppendNegotiateProtocolVersion tells a client which minor version of protocol 3 is spoken with it and which of its options are
// not understood (manual 54.7). To be sent only when the client asked for a newer minor version or for such options.
//
// minor must not be above what the client asked for, be it for the sake of options alone: PostgreSQL answers with the lower of the
// two (tcop/backend_startup.c: FrontendProtocol = Min(proto, PG_PROTOCOL_LATEST)), and libpq gives up on anything else. On the wire
// it is the whole number with 3 in its upper half, not the minor version alone (SendNegotiateProtocolVersion).
func AppendNegotiateProtocolVersion(dst []byte, minor uint16, unknown []string) []byte {
	length := 4 + 4 + 4
	for _, name := range unknown {
		length += len(name) + 1
	}
	dst = append(dst, ServerNegotiateProtocolVersion)
	dst = binary.BigEndian.AppendUint32(dst, uint32(length))
	dst = binary.BigEndian.AppendUint32(dst, 3<<16|uint32(minor))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(unknown)))
	for _, name := range unknown {
		dst = append(append(dst, name...), 0)
	}
	return dst
}
