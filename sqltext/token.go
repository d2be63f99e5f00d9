package sqltext

import "bytes"

// inside goes on in a token that needs more than a look: b[i:] is what follows. It returns where the next one begins.
func (l *Lexer) inside(b []byte, i int) int {
	c := b[i]
	switch l.state {
	case lexWord:
		return l.insideWord(b, i)
	case lexNumber:
		return l.insideNumber(b, i)
	case lexUnicode:
		return l.unicode(c, i)
	case lexString, lexEscape, lexStringQuote:
		return l.insideString(b, i)
	case lexAfterString, lexAfterDash, lexAfterLine:
		return l.afterString(c, i)
	case lexQuoted, lexQuotedQuote:
		return l.insideQuoted(b, i)
	case lexDash, lexSlash:
		return l.maybeComment(c, i)
	case lexLine:
		if end := bytes.IndexAny(b[i:], "\n\r\x00"); end >= 0 {
			l.state = lexPlain
			return i + end
		}
	case lexBlock:
		return l.insideBlock(b, i)
	case lexDollar:
		return l.dollar(b, i)
	case lexParam:
		return l.insideParam(c, i)
	case lexDollarBody:
		return l.insideDollar(b, i)
	case lexEscapes, lexEscapesQuote:
		return l.insideEscapes(b, i)
	case lexAfterEscapes, lexUescape, lexUescapeValue, lexUescapeSign, lexUescapeEnd:
		return l.afterEscapes(b, i)
	case lexPlain, lexEnded:
	}
	return len(b)
}

// hold keeps part of a word, as much as PostgreSQL would.
func (l *Lexer) hold(b []byte) {
	n := copy(l.held[l.heldLen:], b)
	l.heldLen += n
	l.tooLong = l.tooLong || n < len(b)
}

// release gives back what was held.
func (l *Lexer) release() []byte {
	word := l.held[:l.heldLen]
	l.heldLen, l.tooLong = 0, false
	return word
}

func (l *Lexer) insideWord(b []byte, i int) int {
	start := i
	for i < len(b) && wordBytes[b[i]] {
		i++
	}
	l.hold(b[start:i])
	if i == len(b) {
		return i
	}
	l.state = lexPlain
	return l.endWord(l.release(), b[i], i)
}

func (l *Lexer) insideNumber(b []byte, i int) int {
	start := i
	for i < len(b) && (byteClasses[b[i]] == classDigit || b[i] == '.') {
		i++
	}
	if i == len(b) || l.heldLen > 0 {
		l.hold(b[start:i])
		if i < len(b) {
			l.state = lexPlain
			l.number(l.release())
		}
		return i
	}
	l.state = lexPlain
	l.number(b[start:i])
	return i
}

// unicode looks behind u&: a quote makes it a prefix. What escapes stand in a string is not looked into.
func (l *Lexer) unicode(c byte, i int) int {
	l.state = lexPlain
	switch c {
	case '\'':
		l.release()
		l.beginString(false)
		l.inexact()
		return i + 1
	case '"':
		l.release()
		l.state, l.raw = lexEscapes, len(l.text)
		return i + 1
	}
	l.word(l.release())
	l.other('&')
	return i
}

// beginString enters '...'. PostgreSQL takes its rules from the prefix of the first part.
func (l *Lexer) beginString(escapes bool) {
	l.state, l.escapes, l.newline = lexString, escapes, false
	l.openString()
}

func (l *Lexer) insideString(b []byte, i int) int {
	switch {
	case l.state == lexEscape:
		l.state = lexString
		if b[i] == 0 {
			l.state = lexEnded
		}
		return i + 1
	case l.state == lexStringQuote && b[i] == '\'':
		l.capture(b[i : i+1])
		l.state = lexString
		return i + 1
	case l.state == lexStringQuote:
		l.endString()
		return i
	}
	end := i
	if l.escapes {
		for end < len(b) && b[end] != '\'' && b[end] != '\\' && b[end] != 0 {
			end++
		}
	} else if end = len(b); true {
		if n := bytes.IndexByte(b[i:], '\''); n >= 0 {
			end = i + n
		}
		if n := bytes.IndexByte(b[i:end], 0); n >= 0 {
			end = i + n
		}
	}
	l.capture(b[i:end])
	if end == len(b) {
		return end
	}
	switch b[end] {
	case '\'':
		l.state = lexStringQuote
	case '\\':
		l.state = lexEscape
		l.inexact()
	default:
		l.state = lexEnded
	}
	return end + 1
}

// endString is called behind the closing quote. The string may go on behind a newline; where that makes no difference it is taken for
// another string.
func (l *Lexer) endString() {
	if l.capturing() || l.escapes != l.dialect.BackslashEscapes {
		l.state, l.newline = lexAfterString, false
		return
	}
	l.state = lexPlain
}

// afterString looks for the newline and the quote by which a string is continued (manual 4.1.2.1). Comments to the end of the line may
// stand between them.
func (l *Lexer) afterString(c byte, i int) int {
	isNewline := c == '\n' || c == '\r'
	switch {
	case l.state == lexAfterLine:
		if isNewline {
			l.state, l.newline = lexAfterString, true
		} else if c == 0 {
			l.state = lexEnded
		}
		return i + 1
	case l.state == lexAfterDash && c == '-':
		l.state = lexAfterLine
		return i + 1
	case l.state == lexAfterDash:
		l.state = lexPlain
		l.other('-')
		return i
	case isNewline:
		l.newline = true
		return i + 1
	case byteClasses[c] == classSpace:
		return i + 1
	case c == '-':
		l.state = lexAfterDash
		return i + 1
	case c == '\'' && l.newline:
		l.state = lexString
		return i + 1
	}
	l.state = lexPlain
	return i
}

func (l *Lexer) insideQuoted(b []byte, i int) int {
	if l.state == lexQuotedQuote {
		if b[i] == '"' {
			l.hold(b[i : i+1])
			l.state = lexQuoted
			return i + 1
		}
		l.state = lexPlain
		l.quoted(l.release())
		return i
	}
	end := i
	for end < len(b) && b[end] != '"' && b[end] != 0 {
		end++
	}
	if l.heldLen == 0 && end+1 < len(b) && b[end] == '"' && b[end+1] != '"' { // whole, as most are
		l.state = lexPlain
		l.quoted(b[i:min(end, i+identifierMax)])
		return end + 1
	}
	l.hold(b[i:end])
	if end == len(b) {
		return end
	}
	l.state = lexQuotedQuote
	if b[end] == 0 {
		l.state = lexEnded
	}
	return end + 1
}

func (l *Lexer) maybeComment(c byte, i int) int {
	switch {
	case l.state == lexDash && c == '-':
		l.state = lexLine
		return i + 1
	case l.state == lexSlash && c == '*':
		l.state, l.depth, l.before = lexBlock, 1, 0
		return i + 1
	case l.state == lexDash:
		l.other('-')
	default:
		l.other('/')
	}
	l.state = lexPlain
	return i
}

// insideBlock reads a block comment; they nest.
func (l *Lexer) insideBlock(b []byte, i int) int {
	for ; i < len(b); i++ {
		c := b[i]
		switch {
		case c == '/' && l.before == '*':
			l.depth--
			c = 0
		case c == '*' && l.before == '/':
			l.depth++
			c = 0
		case c == 0:
			l.state = lexEnded
			return i + 1
		}
		l.before = c
		if l.depth == 0 {
			l.state = lexPlain
			return i + 1
		}
	}
	return i
}

// dollar looks behind a $ that no word has before it.
func (l *Lexer) dollar(b []byte, i int) int {
	c := b[i]
	class := byteClasses[c]
	switch {
	case c == '$':
		if l.tooLong {
			l.effects |= Unreadable // nobody can wait for its end
			l.state = lexEnded
			return i + 1
		}
		l.state, l.matched = lexDollarBody, 0
		l.openString()
		l.inexact()
		return i + 1
	case class == classDigit && l.heldLen == 0:
		l.state, l.paramNumber = lexParam, 0
		return i
	case class == classLetter, class == classDigit:
		l.hold(b[i : i+1])
		return i + 1
	}
	l.other('$')
	l.state = lexPlain
	if l.heldLen > 0 {
		l.state = lexWord
	}
	return i
}

// insideDollar looks for $tag$. As no $ can stand inside a tag, what does not match begins anew at the $ at most.
func (l *Lexer) insideDollar(b []byte, i int) int {
	for i < len(b) {
		if l.matched == 0 {
			n := bytes.IndexByte(b[i:], '$')
			if n < 0 {
				n = len(b) - i
			}
			if zero := bytes.IndexByte(b[i:i+n], 0); zero >= 0 {
				l.state = lexEnded
				return i + zero
			}
			if i += n; i == len(b) {
				break
			}
			l.matched = 1
			i++
			continue
		}
		c := b[i]
		i++
		switch {
		case l.matched <= l.heldLen && c == l.held[l.matched-1]:
			l.matched++
		case l.matched == l.heldLen+1 && c == '$':
			l.release()
			l.state = lexPlain
			return i
		case c == '$':
			l.matched = 1
		case c == 0:
			l.state = lexEnded
			return i
		default:
			l.matched = 0
		}
	}
	return i
}

func (l *Lexer) insideParam(c byte, i int) int {
	if byteClasses[c] == classDigit {
		l.paramNumber = min(l.paramNumber*10+int(c-'0'), paramMax+1)
		return i + 1
	}
	l.state = lexPlain
	l.param()
	return i
}

// finishToken ends the last token of the text. Of one that is not closed PostgreSQL makes an error, and runs nothing of the text.
func (l *Lexer) finishToken() {
	state := l.state
	l.state = lexEnded
	switch state {
	case lexWord:
		l.word(l.release())
	case lexNumber:
		l.number(l.release())
	case lexUnicode:
		l.word(l.release())
		l.other('&')
	case lexAfterDash:
		l.other('-')
	case lexQuotedQuote:
		l.quoted(l.release())
	case lexDash, lexSlash:
		l.other('-')
	case lexDollar:
		l.other('$')
		if l.heldLen > 0 {
			l.word(l.release())
		}
	case lexParam:
		l.param()
	case lexEscapesQuote, lexAfterEscapes, lexUescape, lexUescapeEnd:
		l.finishEscapes(state)
	case lexEscapes, lexUescapeValue, lexUescapeSign:
	case lexPlain, lexString, lexEscape, lexStringQuote, lexAfterString, lexAfterLine, lexQuoted, lexLine, lexBlock, lexDollarBody, lexEnded:
	}
}
