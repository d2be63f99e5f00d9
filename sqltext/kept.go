package sqltext

// recording says which tokens are kept.
type recording uint8

const (
	recordNothing recording = iota
	recordStatement
	recordArguments // of set_config
)

// tokenKind is the kind of a kept token.
type tokenKind uint8

const (
	tokenWord   tokenKind = iota // folded
	tokenQuoted                  // "..."
	tokenString                  // any string
	tokenNumber
	tokenParam // its number is in param
	tokenPunct // one byte
)

// keptToken is one: text[from:to].
type keptToken struct {
	kind     tokenKind
	inexact  bool // its text is not what it stands for
	lost     bool // it was too long
	from, to int32
	param    int32
}

// openString, capture and inexact take a string in pieces.
func (s *statement) openString() {
	s.value()
	if s.recording != recordNothing {
		s.keep(tokenString, nil)
	}
}

func (s *statement) capturing() bool { return s.recording != recordNothing }

func (s *statement) capture(b []byte) {
	if s.recording != recordNothing && s.tokenCount <= tokensMax {
		s.extend(&s.tokens[s.tokenCount-1], b)
	}
}

func (s *statement) inexact() {
	if s.recording != recordNothing && s.tokenCount <= tokensMax {
		s.tokens[s.tokenCount-1].inexact = true
	}
}

// keep remembers a token.
func (s *statement) keep(kind tokenKind, text []byte) {
	if s.tokenCount < tokensMax {
		at := int32(len(s.text))
		t := &s.tokens[s.tokenCount]
		*t = keptToken{kind: kind, from: at, to: at}
		s.extend(t, text)
	}
	s.tokenCount++
}

// extend adds to the text of the newest token. One that does not fit is lost as a whole.
func (s *statement) extend(t *keptToken, b []byte) {
	if t.lost || len(s.text)+len(b) > captureMax {
		t.lost, t.inexact = true, true
		s.text = s.text[:t.from]
		t.to = t.from
		return
	}
	for _, c := range b {
		t.inexact = t.inexact || c >= 0x80 // in the client's encoding, whatever that is
	}
	s.text = append(s.text, b...)
	t.to = int32(len(s.text))
}
