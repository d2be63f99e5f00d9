package prepared

import "testing"

// typed is a body with types.
func typed(text string, types ...uint32) []byte {
	b := append([]byte(text), 0, byte(len(types)>>8), byte(len(types)))
	return append(b, oids(types...)...)
}

func oids(types ...uint32) (b []byte) {
	for _, t := range types {
		b = append(b, byte(t>>24), byte(t>>16), byte(t>>8), byte(t))
	}
	return b
}

func TestInfers(t *testing.T) {
	for _, test := range []struct {
		body []byte
		want bool
	}{
		{typed("select 1"), false},
		{typed("select $1"), true},
		{typed("select $1", 23), false},
		{typed("select $1, $2", 23), true},
		{typed("select $2, $1", 0, 23), true},
		{typed("select $1", 705), true},
		{typed("call p($1)", 2278), true},
		{typed("select $$x$$, $a$, $"), false},
		{typed("select $0"), false},
		{typed("select $$$12"), true},
		{typed("select $99999999999999999999", 23), true},
		{[]byte("select $1"), false},
		{[]byte("select $1\x00"), false},
		{[]byte("select $1\x00\x00\x01\x00\x00"), true},
	} {
		if got := infers(test.body); got != test.want {
			t.Errorf("%q: %v", test.body, got)
		}
	}
}

// A text with the types that a server has inferred is a statement of its own, as long as anybody uses it; its origin lives as long.
func TestDeclare(t *testing.T) {
	table := NewTable(1 << 20)
	as, _ := table.Intern("here", typed("select $1"), Words{})
	four, _ := table.Declare(as, oids(23))
	again, _ := table.Declare(as, oids(23))
	eight, _ := table.Declare(as, oids(20))
	own, _ := table.Intern("here", typed("select $1", 23), Words{})
	if four != again || four == eight || four == own || four.Body() != own.Body() || four.Origin() != as || own.Origin() != nil || four.Scope() != "here" || four.Infers() {
		t.Fatal("another statement")
	}
	if n, _ := table.Numbers(); n != 4 {
		t.Fatalf("%d statements", n)
	}
	unknown, _ := table.Intern("here", typed("select $1", 705), Words{})
	if _, ok := table.Declare(unknown, oids(23)); ok {
		t.Error("it has two origins")
	}
	for _, s := range []*Statement{as, unknown, own, four, eight} {
		table.Release(s)
	}
	if same, _ := table.Intern("here", typed("select $1"), Words{}); same != as {
		t.Error("its origin is forgotten")
	}
	table.Release(as)
	table.Release(again)
	if n, bytes := table.Numbers(); n != 0 || bytes != 0 {
		t.Error(n, bytes)
	}
	full := NewTable(30)
	as, _ = full.Intern("", typed("select $1"), Words{})
	if _, ok := full.Declare(as, oids(23)); ok {
		t.Error("more than there is room for")
	}
}

func TestAppendDeclared(t *testing.T) {
	message := append([]byte("Plength\x00"), typed("select $1, $2", 23)...)
	got := AppendDeclared(message[:8], message[8:], oids(23, 25))
	if string(got) != "Plength\x00"+string(typed("select $1, $2", 23, 25)) || !Declarable(oids(23, 25)) || Declarable(oids(23, 705)) || Declarable(oids(0)) {
		t.Errorf("%q", got)
	}
}
