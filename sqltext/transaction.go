package sqltext

import "bytes"

// Begin is a BEGIN that cannot fail, whatever server carries it out: 0 is none, 1 a plain one, the others have modes. SERIALIZABLE and READ
// WRITE are not among them: a server in recovery refuses them.
type Begin uint8

// How many values each of the modes has; a Begin less one is a number with a digit for each.
const (
	beginIsolations = 4 // none, READ UNCOMMITTED, READ COMMITTED, REPEATABLE READ
	beginAccesses   = 2 // none, READ ONLY
	beginDeferrable = 3 // none, DEFERRABLE, NOT DEFERRABLE
)

// beginTexts are all of them.
var beginTexts = func() (texts [beginIsolations * beginAccesses * beginDeferrable]string) {
	isolations := [beginIsolations]string{"", " ISOLATION LEVEL READ UNCOMMITTED", " ISOLATION LEVEL READ COMMITTED", " ISOLATION LEVEL REPEATABLE READ"}
	accesses := [beginAccesses]string{"", " READ ONLY"}
	deferrables := [beginDeferrable]string{"", " DEFERRABLE", " NOT DEFERRABLE"}
	for i := range texts {
		texts[i] = "BEGIN" + isolations[i%beginIsolations] + accesses[i/beginIsolations%beginAccesses] + deferrables[i/beginIsolations/beginAccesses]
	}
	return texts
}()

// Text is the statement, its modes in an order of ours.
func (b Begin) Text() string { return beginTexts[b-1] }

// TransactionTextMax is the longest text, in bytes, that ParseBegin and ParseEnd are worth calling with.
const TransactionTextMax = 128

// ParseBegin reads the text of a Query that is a BEGIN and nothing else; starts: it is written START TRANSACTION, which is its tag then. ok is
// false for any other text, for one that might fail, and for what is not plain: comments, a mode given twice.
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
			if mode = &access; w.take("ONLY") {
				value = 1
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

// take passes over a word, if it comes next: letters in any case.
func (w *words) take(word string) bool {
	b := bytes.TrimLeft(w.rest, wordBlanks)
	if len(b) < len(word) {
		return false
	}
	for i := range len(word) {
		if b[i]&^0x20 != word[i] {
			return false
		}
	}
	if b = b[len(word):]; len(b) > 0 && b[0] != ',' && b[0] != ';' && b[0] != 0 && !bytes.ContainsRune([]byte(wordBlanks), rune(b[0])) {
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
	if b := bytes.TrimLeft(w.rest, wordBlanks); len(b) > 0 && b[0] == ',' {
		w.rest = b[1:]
	}
}

// end reports whether nothing follows but a semicolon and the zero byte behind the text.
func (w *words) end() bool {
	b := bytes.TrimSuffix(w.rest, []byte{0})
	b = bytes.TrimSuffix(bytes.TrimRight(b, wordBlanks), []byte{';'})
	return len(bytes.Trim(b, wordBlanks)) == 0
}
