package catalog

import (
	"testing"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// FuzzReader: no body makes the reader panic or read for ever, and what a piece does is not lost in what stands around it.
func FuzzReader(f *testing.F) {
	for _, body := range []string{
		"begin perform set_config('a', b, false); end", "begin execute format('x %I', y) using z; end", "declare c cursor for select 1; begin end",
		"do $$begin listen a; end$$", "<<x>> begin loop exit x; end loop; end", "begin if a then b := (c; end",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, pl := range []bool{false, true} {
			alone, after := read(body, pl), read("set role bob; "+body, pl)
			if after.deeds == nil || !after.deeds.includes(&Deeds{What: SetsNamed, Settings: []string{"role"}}) && after.deeds.What&(SetsAny|Anything) == 0 {
				t.Errorf("pl %v: %q: SET ROLE before it is lost: %s", pl, body, after.deeds)
			}
			if alone.deeds != nil && after.deeds.What&alone.deeds.What != alone.deeds.What && after.deeds.What&SetsAny == 0 {
				t.Errorf("pl %v: %q does %s, behind SET ROLE %s", pl, body, alone.deeds, after.deeds)
			}
		}
	})
}

func read(body string, pl bool) *recorder {
	var r reader
	found := &recorder{}
	r.begin(found, false, sqltext.Dialect{})
	if pl {
		r.plpgsql([]byte(body), 0)
	} else {
		r.sql([]byte(body), 0)
	}
	r.finish()
	return found
}
