package sqltext

import (
	"hash/maphash"
	"iter"
)

// Names is an immutable set of identifiers: those of functions and relations that a text is searched for. A nil set is empty. Safe for
// several goroutines.
type Names struct {
	// lengths tells, by the first byte of a name, how long names are that begin with it: bit n for n bytes. Most identifiers of most
	// texts are told apart by it alone.
	lengths [256]uint64
	slots   []string // open addressing; the empty string is a free slot
	count   int
	bytes   int
	foreign bool // a name has bytes that are not ASCII
	all     bool
}

// namesSeed makes places in the tables differ from process to process: nobody can choose names that collide.
var namesSeed = maphash.MakeSeed()

// NewNames makes the set of these names, folded and without quotes. Empty names and those of more than 63 bytes are left out: no
// identifier is like that.
//
// A name that is not ASCII is found by any identifier that is not ASCII, since a client may have another encoding than the database.
func NewNames(names iter.Seq[string]) *Names {
	n := &Names{}
	for name := range names {
		if len(name) == 0 || len(name) > identifierMax {
			continue
		}
		if !isASCII(name) {
			n.foreign = true
			continue
		}
		if 2*(n.count+1) > len(n.slots) {
			n.grow()
		}
		if n.insert(name) {
			n.count++
			n.bytes += len(name)
			n.lengths[name[0]] |= 1 << len(name)
		}
	}
	return n
}

// EveryName is the set that every text mentions which has a statement.
func EveryName() *Names { return &Names{all: true} }

func isASCII(name string) bool {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return false
		}
	}
	return true
}

func (n *Names) grow() {
	old := n.slots
	n.slots = make([]string, max(16, 2*len(old)))
	for _, name := range old {
		if name != "" {
			n.insert(name)
		}
	}
}

// insert reports whether the name is new.
func (n *Names) insert(name string) bool {
	mask := uint64(len(n.slots) - 1)
	for i := maphash.String(namesSeed, name) & mask; ; i = (i + 1) & mask {
		switch n.slots[i] {
		case "":
			n.slots[i] = name
			return true
		case name:
			return false
		}
	}
}

// Has reports whether a name, folded and without quotes, is in the set. It allocates nothing.
func (n *Names) Has(name []byte) bool {
	if n == nil || len(name) == 0 {
		return false
	}
	if n.all {
		return true
	}
	if len(name) > identifierMax || n.lengths[name[0]]>>len(name)&1 == 0 {
		return n.foreign && hasHigh(name)
	}
	mask := uint64(len(n.slots) - 1)
	for i := maphash.Bytes(namesSeed, name) & mask; n.slots[i] != ""; i = (i + 1) & mask {
		if n.slots[i] == string(name) {
			return true
		}
	}
	return n.foreign && hasHigh(name)
}

// mayHave is a quick look at a word that is not folded: most pass no further.
func (n *Names) mayHave(w []byte) bool {
	if len(w) == 0 {
		return false
	}
	lengths := n.lengths[w[0]]
	if w[0] >= 'A' && w[0] <= 'Z' {
		lengths |= n.lengths[w[0]+'a'-'A']
	}
	return lengths>>min(len(w), identifierMax)&1 != 0 || n.all || n.foreign
}

// Empty reports whether no text can mention anything of the set.
func (n *Names) Empty() bool { return n == nil || n.count == 0 && !n.foreign && !n.all }

// Len is the number of names that are ASCII.
func (n *Names) Len() int {
	if n == nil {
		return 0
	}
	return n.count
}

// Bytes is the memory that the set takes, about, in bytes.
func (n *Names) Bytes() int {
	if n == nil {
		return 0
	}
	return 16*len(n.slots) + n.bytes + len(n.lengths)*8
}

func hasHigh(name []byte) bool {
	for _, c := range name {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
