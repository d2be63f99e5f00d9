package reference

import (
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/config"
)

var rewrite = flag.Bool("rewrite", false, "write docs/settings.md and config.toml from the key table")

func TestGenerated(t *testing.T) {
	for path, want := range map[string]string{"../../docs/settings.md": Settings(), "../../config.toml": Sample()} {
		if *rewrite {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(have) != want {
			t.Errorf("%s is not what the key table says: run go generate ./config/reference", path)
		}
	}
}

// The table declares what the structs have, in the structs' order: a field without a row could not be set.
func TestKeyTableIsComplete(t *testing.T) {
	for i := range config.Sections {
		s := &config.Sections[i]
		value := s.Defaults()
		typ := reflect.TypeOf(value).Elem()
		var names []string
		for j := range typ.NumField() {
			tag := typ.Field(j).Tag.Get("toml")
			kind := typ.Field(j).Type.Kind()
			isTable := kind == reflect.Struct || kind == reflect.Map || tag == "listener"
			if tag == "-" || tag == "" || isTable {
				continue
			}
			names = append(names, tag)
			key := s.Key(tag)
			if key == nil {
				t.Errorf("[%s] %s has no row in the key table", s.Name, tag)
				continue
			}
			want := reflect.ValueOf(value).Elem().Field(j).Addr().Interface()
			if have := key.Field(value); have != want {
				t.Errorf("[%s] %s leads to another field than the one with its tag", s.Name, tag)
			}
		}
		if have := s.KeyNames(); !reflect.DeepEqual(have, names) {
			t.Errorf("[%s] the key table has\n%v, the struct\n%v", s.Name, have, names)
		}
	}
}

func TestKeyDocs(t *testing.T) {
	for i := range config.Sections {
		s := &config.Sections[i]
		for j := range s.Keys {
			k := &s.Keys[j]
			if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
				t.Errorf("[%s] %s: the doc must be sentences", s.Name, k.Name)
			}
			value := config.Show(k.Field(s.Defaults()))
			mayBeUnset := k.Min == 0 && len(k.Allowed) == 0 && value != "true" && value != "false"
			if unset := value == "0" || value == `"0s"` || value == "[]" || value == `""`; unset && mayBeUnset && k.Zero == "" && !s.Named() {
				t.Errorf("[%s] %s: the default is %s, and the doc does not say what that means", s.Name, k.Name, value)
			}
			if _, number := k.Field(s.Defaults()).(*int); number && k.Unit == "" {
				t.Errorf("[%s] %s: a number needs a unit", s.Name, k.Name)
			}
		}
	}
}
