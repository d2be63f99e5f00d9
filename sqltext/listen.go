package sqltext

import (
	"strings"
	"unicode/utf8"
)

// Listening is one LISTEN or UNLISTEN of a text, in its place among the others. DISCARD ALL counts as UNLISTEN *.
type Listening struct {
	// Channel is the channel's name as PostgreSQL folds and cuts it, when Exact; none: all of them. Valid until the Lexer's next Begin.
	Channel []byte
	// Stops: UNLISTEN.
	Stops bool
	// Exact: the name is known. Where it is not ASCII, that holds if both the client's encoding and the database's are UTF-8: in others
	// PostgreSQL may fold and cut it in other ways.
	Exact bool
	// ASCII: there is nothing in the name that an encoding could change.
	ASCII bool
	// Statement is the number of its statement in the text, from 0.
	Statement int
}

// listening is a Listening whose channel is in the text.
type listening struct {
	from, to, statement int32
	stops, exact, ascii bool
}

// listeningsMax bounds those of one text.
const listeningsMax = 64

// judgeListen: LISTEN channel, UNLISTEN {channel | *}.
func (s *statement) judgeListen(stops bool) {
	l := listening{stops: stops, exact: true, ascii: true}
	switch kind := s.kindOf(1); {
	case stops && s.sign1(1) == '*':
	case kind == tokenWord, kind == tokenQuoted:
		t := s.tokens[1]
		l.from, l.to, l.exact, l.ascii = t.from, t.to, !t.lost && t.from < t.to, !t.inexact
	default:
		return // PostgreSQL refuses it
	}
	s.listens(l)
}

func (s *statement) listens(l listening) {
	if len(s.listenings) == listeningsMax {
		s.effects |= Unreadable
		return
	}
	l.statement = int32(s.statements)
	s.listenings = append(s.listenings, l)
}

// Listenings is the number of LISTEN and UNLISTEN in the text.
func (s *statement) Listenings() int { return len(s.listenings) }

// Listening is the i-th of them.
func (s *statement) Listening(i int) Listening {
	l := s.listenings[i]
	return Listening{Channel: wholeRunes(s.text[l.from:l.to]), Stops: l.stops, Exact: l.exact, ASCII: l.ascii, Statement: int(l.statement)}
}

// wholeRunes takes off what is left of a character at the end of a name that has been cut: PostgreSQL cuts between characters.
func wholeRunes(name []byte) []byte {
	if len(name) < identifierMax {
		return name
	}
	for i := len(name) - 1; i >= 0 && i > len(name)-utf8.UTFMax; i-- {
		if utf8.RuneStart(name[i]) {
			if !utf8.FullRune(name[i:]) {
				return name[:i]
			}
			break
		}
	}
	return name
}

// AppendListen builds LISTEN for a channel of any name.
func AppendListen(dst []byte, channel string) []byte { return appendChannel(dst, "LISTEN ", channel) }

// AppendUnlisten builds UNLISTEN.
func AppendUnlisten(dst []byte, channel string) []byte {
	return appendChannel(dst, "UNLISTEN ", channel)
}

func appendChannel(dst []byte, verb, channel string) []byte {
	dst = append(append(dst, verb...), '"')
	dst = append(dst, strings.ReplaceAll(channel, `"`, `""`)...)
	return append(dst, `";`...)
}

// AppendListensQuestion builds the query for whether a server listens to channels: one row, with NULL for those to which it does
// not.
func AppendListensQuestion(dst []byte, channels []string) []byte {
	dst = append(dst, "SELECT"...)
	for i, channel := range channels {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, " (SELECT '1' FROM pg_catalog.pg_listening_channels() c WHERE c = "...)
		dst = appendLiteral(dst, channel)
		dst = append(dst, " LIMIT 1)"...)
	}
	return dst
}
