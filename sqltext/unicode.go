package sqltext

import (
	"unicode/utf16"
	"unicode/utf8"
)

// Identifiers with Unicode escapes: U&"d\0061t\+000061" and U&"d!0061ta" UESCAPE '!' (manual 4.1.1). They are collected in statement.text and
// decoded there, since their escapes can be longer than any identifier; what they stand for is an identifier like any in quotes.

// insideEscapes collects what stands between the quotes.
func (l *Lexer) insideEscapes(b []byte, i int) int {
	if l.state == lexEscapesQuote {
		if b[i] != '"' {
			l.state = lexAfterEscapes
			return i
		}
		l.collect(b[i : i+1])
		l.state = lexEscapes
		return i + 1
	}
	end := i
	for end < len(b) && b[end] != '"' && b[end] != 0 {
		end++
	}
	l.collect(b[i:end])
	if end == len(b) {
		return end
	}
	l.state = lexEscapesQuote
	if b[end] == 0 {
		l.state = lexEnded
	}
	return end + 1
}

func (l *Lexer) collect(b []byte) {
	if len(l.text)+len(b) > captureMax {
		l.effects |= Unreadable
		return
	}
	l.text = append(l.text, b...)
}

// afterEscapes looks behind the closing quote for UESCAPE and its string. Where a comment stands there, or the string is not a plain one,
// the text is Unreadable.
func (l *Lexer) afterEscapes(b []byte, i int) int {
	c := b[i]
	switch at := l.state; {
	case at == lexAfterEscapes:
		switch {
		case byteClasses[c] == classSpace:
			return i + 1
		case byteClasses[c] == classLetter:
			l.state = lexUescape
			return i
		case c == '-', c == '/':
			l.effects |= Unreadable // a comment may begin, with UESCAPE behind it
		}
		l.state = lexPlain
		l.endEscapes('\\')
		return i
	case at == lexUescape:
		start := i
		for i < len(b) && wordBytes[b[i]] {
			i++
		}
		l.hold(b[start:i])
		if i == len(b) {
			return i
		}
		if l.heldUescape() {
			l.release()
			l.state = lexUescapeValue
			return i
		}
		l.state = lexPlain
		word := l.release() // endEscapes holds nothing
		l.endEscapes('\\')
		return l.endWord(word, b[i], i)
	case at == lexUescapeValue:
		if byteClasses[c] == classSpace {
			return i + 1
		}
		if c == '\'' {
			l.state = lexUescapeSign
			return i + 1
		}
		l.effects |= Unreadable
		l.state = lexPlain
		l.endEscapes('\\')
		return i
	case at == lexUescapeSign:
		l.hold(b[i : i+1])
		l.state = lexUescapeEnd
		return i + 1
	default:
		sign := l.release()
		l.state = lexPlain
		l.endEscapes(sign[0])
		if c != '\'' {
			l.effects |= Unreadable // a string of several characters: PostgreSQL refuses it
			return i
		}
		return i + 1
	}
}

// heldUescape reports that the word behind the identifier is UESCAPE.
func (l *Lexer) heldUescape() bool {
	var folded [identifierMax]byte
	return string(foldWord(&folded, l.held[:l.heldLen])) == "uescape"
}

// finishEscapes ends a text behind such an identifier.
func (l *Lexer) finishEscapes(state lexState) {
	switch {
	case state == lexUescape:
		word := l.release()
		l.endEscapes('\\')
		l.word(word)
	case state == lexUescapeEnd:
		l.endEscapes(l.release()[0])
	default:
		l.endEscapes('\\')
	}
}

// endEscapes passes on the identifier that has been collected.
func (l *Lexer) endEscapes(sign byte) {
	var name [identifierMax]byte
	decoded, ok := decodeEscapes(l.text[l.raw:l.raw], l.text[l.raw:], sign)
	n := copy(name[:], decoded)
	l.text = l.text[:l.raw]
	if !ok {
		l.effects |= Unreadable // PostgreSQL refuses it
	}
	l.quoted(name[:n])
}

// decodeEscapes appends to dst what an identifier stands for; dst may be the beginning of raw, as what is decoded is never longer.
// ok is false where PostgreSQL refuses it.
func decodeEscapes(dst, raw []byte, sign byte) (decoded []byte, ok bool) {
	var high rune // the first half of a pair
	for i := 0; i < len(raw); {
		if raw[i] != sign {
			if high != 0 {
				return dst, false
			}
			dst = append(dst, raw[i])
			i++
			continue
		}
		if i+1 < len(raw) && raw[i+1] == sign {
			if high != 0 {
				return dst, false
			}
			dst = append(dst, sign)
			i += 2
			continue
		}
		digits, from := 4, i+1
		if from < len(raw) && raw[from] == '+' {
			digits, from = 6, from+1
		}
		if from+digits > len(raw) {
			return dst, false
		}
		r, valid := hexRune(raw[from : from+digits])
		i = from + digits
		switch {
		case !valid || r == 0 || r > utf8.MaxRune:
			return dst, false
		case high != 0:
			if r = utf16.DecodeRune(high, r); r == utf8.RuneError {
				return dst, false
			}
			high = 0
		case utf16.IsSurrogate(r):
			high = r
			continue
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, high == 0
}

func hexRune(digits []byte) (r rune, ok bool) {
	for _, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
