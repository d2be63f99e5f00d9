package sqltext

import "bytes"

// Begin is a BEGIN: 0 is none, 1 a plain one, the others have modes.
type Begin uint8

// How many values each of the modes has; a Begin less one is a number with a digit for each.
const (
	beginIsolations = 5 // none, READ UNCOMMITTED, READ COMMITTED, REPEATABLE READ, SERIALIZABLE
	beginAccesses   = 3 // none, READ ONLY, READ WRITE
	beginDeferrable = 3 // none, DEFERRABLE, NOT DEFERRABLE
)

// beginTexts are all of them.
var beginTexts = func() (texts [beginIsolations * beginAccesses * beginDeferrable]string) {
	isolations := [beginIsolations]string{
		"", " ISOLATION LEVEL READ UNCOMMITTED", " ISOLATION LEVEL READ COMMITTED", " ISOLATION LEVEL REPEATABLE READ", " ISOLATION LEVEL SERIALIZABLE",
	}
	accesses := [beginAccesses]string{"", " READ ONLY", " READ WRITE"}
	deferrables := [beginDeferrable]string{"", " DEFERRABLE", " NOT DEFERRABLE"}
	for i := range texts {
		texts[i] = "BEGIN" + isolations[i%beginIsolations] + accesses[i/beginIsolations%beginAccesses] + deferrables[i/beginIsolations/beginAccesses]
	}
	return texts
}()

// Text is the statement, its modes in an order of ours.
func (b Begin) Text() string { return beginTexts[b-1] }

// MayFail reports whether there are servers that refuse it: one in recovery refuses SERIALIZABLE and READ WRITE.
func (b Begin) MayFail() bool {
	return (b-1)%beginIsolations == beginIsolations-1 || (b-1)/beginIsolations%beginAccesses == beginAccesses-1
}

// TransactionTextMax is the longest text, in bytes, that ParseBegin and ParseEnd are worth calling with: the modes, and comments of tracers.
const TransactionTextMax = 1024

// ParseBegin reads the text of a Query that is a BEGIN and nothing else; starts: it is written START TRANSACTION, which is its tag then. ok is
// false for any other text, and for one that gives a mode twice.
func ParseBegin(text []byte) (begin Begin, starts, ok bool) {
	w := words{rest: text}
	switch {
	case w.take("BEGIN"):
		_ = w.take("TRANSACTION") || w.take("WORK")
	case w.take("START"):
		if starts = true; !w.take("TRANSACTION") {
			return 0, false, false
		}
	default:
		return 0, false, false
	}
	isolation, access, deferrable := 0, 0, 0
	for first := true; !w.end(); first = false {
		if !first {
			w.comma()
		}
		var mode *int
		value := 0
		switch {
		case w.take("ISOLATION"):
			if mode = &isolation; w.take("LEVEL") {
				value = w.isolation()
			}
		case w.take("READ"):
			switch mode = &access; {
			case w.take("ONLY"):
				value = 1
			case w.take("WRITE"):
				value = 2
			}
		case w.take("DEFERRABLE"):
			mode, value = &deferrable, 1
		case w.take("NOT"):
			if mode = &deferrable; w.take("DEFERRABLE") {
				value = 2
			}
		}
		if value == 0 || *mode != 0 {
			return 0, false, false
		}
		*mode = value
	}
	return Begin(1 + isolation + beginIsolations*(access+beginAccesses*deferrable)), starts, true
}

// ParseEnd reads the text of a Query that ends a transaction and does nothing else; commits: by COMMIT.
func ParseEnd(text []byte) (commits, ok bool) {
	w := words{rest: text}
	switch {
	case w.take("COMMIT"), w.take("END"):
		commits = true
	case w.take("ROLLBACK"), w.take("ABORT"):
	default:
		return false, false
	}
	_ = w.take("TRANSACTION") || w.take("WORK")
	return commits, w.end()
}

// words reads a text word by word.
type words struct{ rest []byte }

const wordBlanks = " \t\r\n\f"

// skipBlanks passes over blanks and comments. A comment that does not end stays.
func (w *words) skipBlanks() {
	for {
		w.rest = bytes.TrimLeft(w.rest, wordBlanks)
		n := commentLength(w.rest)
		if n == 0 {
			return
		}
		w.rest = w.rest[n:]
	}
}

// commentLength is the length of the comment that b begins with; 0 if it begins with none, or does not hold its end.
func commentLength(b []byte) int {
	switch {
	case bytes.HasPrefix(b, []byte("--")):
		if n := bytes.IndexAny(b, "\r\n"); n > 0 {
			return n
		}
		return len(bytes.TrimSuffix(b, []byte{0}))
	case !bytes.HasPrefix(b, []byte("/*")):
		return 0
	}
	for i, depth := 2, 1; i+1 < len(b); i++ {
		switch {
		case b[i] == '/' && b[i+1] == '*':
			depth, i = depth+1, i+1
		case b[i] == '*' && b[i+1] == '/':
			if depth, i = depth-1, i+1; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// take passes over a word, if it comes next: letters in any case.
func (w *words) take(word string) bool {
	w.skipBlanks()
	b := w.rest
	if len(b) < len(word) {
		return false
	}
	for i := range len(word) {
		if b[i]&^0x20 != word[i] {
			return false
		}
	}
	b = b[len(word):]
	if len(b) > 0 && b[0] != ',' && b[0] != ';' && b[0] != 0 && !bytes.ContainsRune([]byte(wordBlanks), rune(b[0])) && commentLength(b) == 0 {
		return false // a longer word, or something that need not be one
	}
	w.rest = b
	return true
}

// isolation passes over the name of a level.
func (w *words) isolation() int {
	switch {
	case w.take("REPEATABLE"):
		if w.take("READ") {
			return 3
		}
	case w.take("SERIALIZABLE"):
		return 4
	case w.take("READ"):
		if w.take("UNCOMMITTED") {
			return 1
		}
		if w.take("COMMITTED") {
			return 2
		}
	}
	return 0
}

func (w *words) comma() {
	if w.skipBlanks(); len(w.rest) > 0 && w.rest[0] == ',' {
		w.rest = w.rest[1:]
	}
}

// end reports whether nothing follows but a semicolon and the zero byte behind the text.
func (w *words) end() bool {
	if w.skipBlanks(); len(w.rest) > 0 && w.rest[0] == ';' {
		w.rest = w.rest[1:]
		w.skipBlanks()
	}
	return len(bytes.TrimSuffix(w.rest, []byte{0})) == 0
}
