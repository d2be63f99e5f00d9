package sqltext

import "bytes"

// TokenKind says what a Token is.
type TokenKind uint8

// The kinds.
const (
	// Word: a keyword or an identifier without quotes; Token.Text is folded.
	Word TokenKind = iota
	// Quoted: an identifier in double quotes, which Token.Text is without.
	Quoted
	// String: a constant in quotes of any kind, which Token.Text is without.
	String
	// Number: a constant without quotes.
	Number
	// Param: $1.
	Param
	// Sign: one of ( ) [ ] , ; . : or an operator of one or more characters.
	Sign
)

// Token is one token of a text.
type Token struct {
	Kind TokenKind
	// Inexact: it is a string that stands for something else than Text.
	Inexact bool
	// Text is valid as long as the text that was read, and must not be changed.
	Text []byte
	// From and To are where in the text it stands.
	From, To int
}

// Is reports whether the token is this word, without quotes.
func (t Token) Is(word string) bool { return t.Kind == Word && string(t.Text) == word }

// IsSign reports whether the token is this sign.
func (t Token) IsSign(sign string) bool { return t.Kind == Sign && string(t.Text) == sign }

// IsName reports whether the token may be an identifier.
func (t Token) IsName() bool { return t.Kind == Word || t.Kind == Quoted }

// AppendTokens appends the tokens of a text that is whole in memory, without white space and comments. A Lexer reads the same language in
// pieces, and remembers nothing; this is for bodies of functions, of which more has to be known. It ends at a zero byte, and in a string
// or comment that has no end. Of Dialect it heeds BackslashEscapes alone.
func AppendTokens(dst []Token, text []byte, d Dialect) []Token {
	if end := bytes.IndexByte(text, 0); end >= 0 {
		text = text[:end]
	}
	r := tokenReader{text: text, escapes: d.BackslashEscapes}
	for r.skip(); r.at < len(r.text); r.skip() {
		from := r.at
		t, ok := r.next()
		if !ok {
			break
		}
		t.From, t.To = from, r.at
		dst = append(dst, t)
	}
	return dst
}

// tokenReader is where in the text the reader is.
type tokenReader struct {
	text    []byte
	at      int
	escapes bool
}

// peek is the byte at an offset from here; 0 behind the end.
func (r *tokenReader) peek(offset int) byte {
	if r.at+offset < len(r.text) {
		return r.text[r.at+offset]
	}
	return 0
}

// skip passes over white space and comments. One without an end is the end of the text.
func (r *tokenReader) skip() {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case byteClasses[c] == classSpace:
			r.at++
		case c == '-' && r.peek(1) == '-':
			end := bytes.IndexAny(r.text[r.at:], "\n\r")
			if end < 0 {
				end = len(r.text) - r.at
			}
			r.at += end
		case c == '/' && r.peek(1) == '*':
			r.skipBlock()
		default:
			return
		}
	}
}

// skipBlock passes over a block comment; they nest.
func (r *tokenReader) skipBlock() {
	depth := 0
	for r.at < len(r.text) {
		switch {
		case r.text[r.at] == '/' && r.peek(1) == '*':
			depth++
			r.at += 2
		case r.text[r.at] == '*' && r.peek(1) == '/':
			depth--
			r.at += 2
		default:
			r.at++
		}
		if depth == 0 {
			return
		}
	}
}

// next reads the token that begins here. ok is false when it has no end.
func (r *tokenReader) next() (t Token, ok bool) {
	c := r.text[r.at]
	switch byteClasses[c] {
	case classLetter:
		return r.word()
	case classDigit:
		return r.number(), true
	case classDollar:
		return r.dollar()
	case classQuote:
		if c == '"' {
			r.at++
			text, ok := r.quotes('"')
			return Token{Kind: Quoted, Text: cutName(text)}, ok
		}
		r.at++
		return r.str(r.escapes)
	case classPunct:
		if c == '.' && byteClasses[r.peek(1)] == classDigit {
			return r.number(), true
		}
		if c != '=' {
			r.at++
			return Token{Kind: Sign, Text: r.text[r.at-1 : r.at]}, true
		}
	case classOther, classSpace, classStart, classZero:
	}
	return r.operator(), true
}

// word reads a word, or a string or identifier of which it is the prefix.
func (r *tokenReader) word() (t Token, ok bool) {
	from := r.at
	for r.at < len(r.text) && wordBytes[r.text[r.at]] {
		r.at++
	}
	word := r.text[from:r.at]
	if len(word) == 1 {
		switch c := word[0] | 0x20; {
		case c == 'u' && r.peek(0) == '&' && r.peek(1) == '"':
			return r.escapedName()
		case c == 'u' && r.peek(0) == '&' && r.peek(1) == '\'':
			r.at += 2
			t, ok = r.str(false)
			t.Inexact = t.Inexact || bytes.IndexByte(t.Text, '\\') >= 0
			return t, ok
		case r.peek(0) == '\'' && (c == 'e' || c == 'b' || c == 'x'):
			r.at++
			t, ok = r.str(c == 'e')
			t.Inexact = t.Inexact || c != 'e'
			return t, ok
		}
	}
	return Token{Kind: Word, Text: cutName(lower(word))}, true
}

// lower is a word in lower case; itself, if it is that already.
func lower(word []byte) []byte {
	for i, c := range word {
		if c >= 'A' && c <= 'Z' {
			folded := bytes.Clone(word)
			for j := i; j < len(folded); j++ {
				if folded[j] >= 'A' && folded[j] <= 'Z' {
					folded[j] += 'a' - 'A'
				}
			}
			return folded
		}
	}
	return word
}

// cutName is as much of an identifier as PostgreSQL keeps.
func cutName(name []byte) []byte { return wholeRunes(name[:min(len(name), identifierMax)]) }

// escapedName reads U&"..." with its UESCAPE.
func (r *tokenReader) escapedName() (t Token, ok bool) {
	r.at += 2
	raw, ok := r.quotes('"')
	end, sign := r.at, byte('\\')
	r.skip()
	if len(r.text)-r.at > len("uescape") && string(lower(r.text[r.at:r.at+len("uescape")])) == "uescape" && !wordBytes[r.peek(len("uescape"))] {
		r.at += len("uescape")
		r.skip()
		if r.peek(0) == '\'' && r.peek(2) == '\'' {
			sign = r.peek(1)
			r.at += 3
			end = r.at
		}
	}
	r.at = end
	name, valid := decodeEscapes(nil, raw, sign)
	return Token{Kind: Quoted, Text: cutName(name), Inexact: !valid}, ok
}

// quotes reads up to the closing quote; a doubled one stands for itself.
func (r *tokenReader) quotes(quote byte) (text []byte, ok bool) {
	for {
		n := bytes.IndexByte(r.text[r.at:], quote)
		if n < 0 {
			r.at = len(r.text)
			return nil, false
		}
		piece := r.text[r.at : r.at+n]
		r.at += n + 1
		if r.peek(0) != quote {
			if text == nil {
				return piece, true
			}
			return append(text, piece...), true
		}
		text = append(append(text, piece...), quote)
		r.at++
	}
}

// str reads a string, the opening quote of which has been passed, with the parts that continue it (manual 4.1.2.1).
func (r *tokenReader) str(escapes bool) (t Token, ok bool) {
	t.Kind = String
	for first := true; ; first = false {
		var part []byte
		if escapes {
			part, ok = r.escapedString(&t.Inexact)
		} else {
			part, ok = r.quotes('\'')
		}
		if !ok {
			return t, false
		}
		if first {
			t.Text = part
		} else {
			t.Text = append(bytes.Clone(t.Text), part...)
		}
		if !r.continued() {
			return t, true
		}
	}
}

// escapedString reads up to the closing quote, where a backslash takes the next byte with it.
func (r *tokenReader) escapedString(inexact *bool) (text []byte, ok bool) {
	from, plain := r.at, true
	for ; r.at < len(r.text); r.at++ {
		switch r.text[r.at] {
		case '\\':
			*inexact = true
			r.at++
		case '\'':
			if r.peek(1) != '\'' {
				text = r.text[from:r.at]
				r.at++
				if !plain {
					text = bytes.ReplaceAll(text, []byte("''"), []byte("'"))
				}
				return text, true
			}
			plain = false
			r.at++
		}
	}
	r.at = len(r.text)
	return nil, false
}

// continued passes over white space with a newline in it, and the quote behind it, if such follow. Comments to the end of the line may
// stand between them.
func (r *tokenReader) continued() bool {
	newline := false
	for at := r.at; at < len(r.text); at++ {
		switch c := r.text[at]; {
		case c == '\n' || c == '\r':
			newline = true
		case byteClasses[c] == classSpace:
		case c == '-' && at+1 < len(r.text) && r.text[at+1] == '-':
			end := bytes.IndexAny(r.text[at:], "\n\r")
			if end < 0 {
				return false
			}
			at += end
			newline = true
		case c == '\'' && newline:
			r.at = at + 1
			return true
		default:
			return false
		}
	}
	return false
}

// number reads a number; its sign is a token of its own.
func (r *tokenReader) number() Token {
	from := r.at
	for r.at < len(r.text) && (byteClasses[r.text[r.at]] == classDigit || r.text[r.at] == '.' && r.peek(1) != '.') {
		r.at++
	}
	return Token{Kind: Number, Text: r.text[from:r.at]}
}

// dollar reads $1 or $tag$...$tag$.
func (r *tokenReader) dollar() (t Token, ok bool) {
	from := r.at
	r.at++
	if byteClasses[r.peek(0)] == classDigit {
		for byteClasses[r.peek(0)] == classDigit {
			r.at++
		}
		return Token{Kind: Param, Text: r.text[from+1 : r.at]}, true
	}
	for r.at < len(r.text) && byteClasses[r.text[r.at]] != classDollar && wordBytes[r.text[r.at]] {
		r.at++
	}
	if r.peek(0) != '$' {
		r.at = from + 1
		return Token{Kind: Sign, Text: r.text[from:r.at]}, true
	}
	r.at++
	tag := r.text[from:r.at]
	n := bytes.Index(r.text[r.at:], tag)
	if n < 0 {
		r.at = len(r.text)
		return t, false
	}
	t = Token{Kind: String, Text: r.text[r.at : r.at+n]}
	r.at += n + len(tag)
	return t, true
}

// operatorBytes are what operators are made of (manual 4.1.3), with := of PL/pgSQL.
var operatorBytes = func() (in [256]bool) {
	for _, c := range []byte("+-*/<>=~!@#%^&|`?:") {
		in[c] = true
	}
	return in
}()

// operator reads an operator, which ends where a comment begins; any other byte is a sign of its own.
func (r *tokenReader) operator() Token {
	from := r.at
	for r.at < len(r.text) && operatorBytes[r.text[r.at]] {
		if r.at > from && (r.text[r.at] == '-' && r.peek(1) == '-' || r.text[r.at] == '/' && r.peek(1) == '*') {
			break
		}
		r.at++
	}
	r.at = max(r.at, from+1)
	return Token{Kind: Sign, Text: r.text[from:r.at]}
}
