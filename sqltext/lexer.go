// Package sqltext owns SQL text: it reads what the text of a statement does to a session, and writes the statements that the pooler itself
// runs. It must not know connections, pools or transactions in progress, and it never runs anything.
//
// Facts about the grammar are from PostgreSQL's sources (parser/scan.l, parser/gram.y) and the manual, chapter 4. A Lexer belongs to one
// goroutine at a time; everything else may be called from any goroutine.
//
// Read effects.go first: it lists what a text can do. lexer.go finds tokens, statement.go follows the statements of a text, judge.go reads
// those whose first words tell everything; watch.go looks for names that the caller knows. tokens.go is for texts that are whole in memory, such
// as bodies of functions. settings.go holds parameter values, settingsdiff.go writes the statements that set them.
package sqltext

import "bytes"

// Lexer reads the text of a Query or Parse as PostgreSQL does (manual 4.1; parser/scan.l) and says what it does to the session.
//
//	l.Begin(dialect)
//	l.Feed(text) // or in pieces, cut anywhere
//	effects := l.End()
//
// It keeps nothing of what it is fed but the beginning of a statement like SET, bounded by captureMax; a Lexer that is used again
// allocates nothing. Not safe for several goroutines.
//
// This file finds the tokens, token.go and unicode.go go on in those that are cut or need care; statement.go knows what they mean.
type Lexer struct {
	state   lexState
	dialect Dialect

	escapes bool // of the string in progress: a backslash takes the next byte with it
	newline bool // behind a string: seen one
	tooLong bool // what is held is longer
	depth   int  // of block comments
	before  byte // the last byte in a block comment
	matched int  // bytes of a dollar quote's end seen
	held    [identifierMax]byte
	heldLen int // of a word, number or dollar tag that was cut, or a quoted identifier
	raw     int // where in statement.text an identifier with Unicode escapes begins

	statement
}

// lexState is where in a token the text is.
type lexState uint8

const (
	lexPlain        lexState = iota // between tokens
	lexWord                         // in a word whose beginning is held
	lexNumber                       // in a number whose beginning is held
	lexUnicode                      // behind u&, which may be a prefix
	lexString                       // in '...'
	lexEscape                       // behind a backslash in '...'
	lexStringQuote                  // behind a quote in '...': the end, unless another follows
	lexAfterString                  // behind '...': a newline and a quote continue it
	lexAfterDash                    // likewise, behind a -
	lexAfterLine                    // likewise, in a comment to the end of the line
	lexQuoted                       // in "..."
	lexQuotedQuote                  // behind a quote in "..."
	lexDash                         // behind a -
	lexLine                         // in a comment to the end of the line
	lexSlash                        // behind a /
	lexBlock                        // in a block comment
	lexDollar                       // behind a $: a parameter, or the tag of a dollar quote
	lexParam                        // in $1
	lexDollarBody                   // in $tag$...$tag$
	lexEscapes                      // in U&"..."
	lexEscapesQuote                 // behind a quote in U&"..."
	lexAfterEscapes                 // behind U&"...", where UESCAPE may follow
	lexUescape                      // in a word there
	lexUescapeValue                 // behind UESCAPE
	lexUescapeSign                  // in its string
	lexUescapeEnd                   // behind its sign
	lexEnded                        // behind a zero byte, where a C program stops
)

// byteClass says what a byte can be outside quotes.
type byteClass uint8

const (
	classOther  byteClass = iota // operators and the like
	classSpace                   // white space
	classLetter                  // begins and continues a word
	classDigit                   // begins a number, continues a word
	classDollar                  // continues a word
	classQuote                   // ' and "
	classPunct                   // ( ) ; . , = and all else that a statement's grammar looks at
	classStart                   // - / : may begin a comment
	classZero
)

var byteClasses = func() (classes [256]byteClass) {
	for c := range classes {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c >= 0x80:
			classes[c] = classLetter
		case c >= '0' && c <= '9':
			classes[c] = classDigit
		}
	}
	for class, members := range map[byteClass]string{
		classSpace: " \t\n\r\f\v", classDollar: "$", classQuote: `'"`, classPunct: "();.,=", classStart: "-/", classZero: "\x00",
	} {
		for i := range len(members) {
			classes[members[i]] = class
		}
	}
	return classes
}()

// wordBytes are the bytes that continue a word.
var wordBytes = func() (in [256]bool) {
	for c, class := range byteClasses {
		in[c] = class == classLetter || class == classDigit || class == classDollar
	}
	return in
}()

// Begin starts a new text.
func (l *Lexer) Begin(d Dialect) {
	l.state, l.dialect, l.heldLen, l.tooLong = lexPlain, d, 0, false
	l.beginText()
}

// End says what the text did. The Lexer then waits for Begin; until then its assignments can be read.
func (l *Lexer) End() Effects {
	l.finishToken()
	l.endStatement()
	return l.effects
}

// Statements is the number of statements of the text that are not empty: as many as PostgreSQL completes when none fails.
func (l *Lexer) Statements() int { return l.statements }

// Feed reads on.
func (l *Lexer) Feed(b []byte) {
	if l.dialect.TrailingQuotes || l.dialect.Doubtful {
		l.doubt(b)
	}
	for i := 0; i < len(b); {
		if l.state == lexPlain {
			i = l.plain(b, i)
		} else {
			i = l.inside(b, i)
		}
	}
}

// doubt marks a text whose strings may end elsewhere than where it looks.
func (l *Lexer) doubt(b []byte) {
	if l.dialect.Doubtful && bytes.IndexByte(b, '\\') >= 0 {
		l.effects |= Unreadable
	}
	if l.dialect.TrailingQuotes {
		for _, c := range b {
			if c >= 0x80 {
				l.effects |= Unreadable
				return
			}
		}
	}
}

// plain reads tokens that are whole in b, as most are. It returns where it stopped: at the end of b, or inside a token.
func (l *Lexer) plain(b []byte, i int) int {
	for i < len(b) && l.state == lexPlain {
		c := b[i]
		switch byteClasses[c] {
		case classSpace:
			i++
		case classLetter:
			start := i
			for i++; i < len(b) && wordBytes[b[i]]; i++ {
			}
			if i == len(b) {
				l.state = lexWord
				l.hold(b[start:])
				return i
			}
			i = l.endWord(b[start:i], b[i], i)
		case classDigit:
			l.state = lexNumber
		case classPunct:
			l.punct(c)
			i++
		case classOther:
			l.other(c)
			i++
		case classDollar, classQuote, classStart, classZero:
			l.begin(c)
			i++
		}
	}
	return i
}

// begin enters the token that c begins.
func (l *Lexer) begin(c byte) {
	switch c {
	case '\'':
		l.beginString(l.dialect.BackslashEscapes)
	case '"':
		l.state = lexQuoted
	case '-':
		l.state = lexDash
	case '/':
		l.state = lexSlash
	case '$':
		l.state = lexDollar
	default:
		l.state = lexEnded
	}
}

// endWord passes a word on, unless it is the prefix of a string: e”, b”, x”. next is the byte behind it at i. n” is an ordinary
// string behind a type's name.
func (l *Lexer) endWord(word []byte, next byte, i int) int {
	if len(word) == 1 {
		switch c := word[0] | 0x20; {
		case c == 'u' && next == '&':
			l.hold(word)
			l.state = lexUnicode
			return i + 1
		case next == '\'' && (c == 'e' || c == 'b' || c == 'x'):
			l.beginString(c == 'e')
			l.inexact() // with bits or escapes in it, it is not what it says
			return i + 1
		}
	}
	l.word(word)
	return i
}
