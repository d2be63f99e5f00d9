package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// files is a folder of texts for the reader.
type files map[string]string

func (f files) reader() lineReader {
	return lineReader{
		read: func(path string) ([]byte, error) {
			if text, ok := f[path]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
		list: func(dir string) (all []string, err error) {
			for path := range f {
				if filepath.Dir(path) == dir {
					all = append(all, path)
				}
			}
			return all, nil
		},
	}
}

func hbaOf(t *testing.T, text, maps string) *HBA {
	t.Helper()
	ident := ""
	if maps != "" {
		ident = "ident"
	}
	h, err := parseHBA("hba", ident, files{"hba": text, "ident": maps, "names.txt": "d1, d2\n# nobody else\n\"d 3\"", "none.txt": ""}.reader())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func from(address string) Origin {
	if address == "" {
		return Origin{Local: true}
	}
	text, tls := strings.CutSuffix(address, " tls")
	return Origin{Address: netip.MustParseAddr(text), TLS: tls}
}

// TestHBAMatch: the first line that fits decides.
func TestHBAMatch(t *testing.T) {
	for _, c := range []struct{ name, file, address, database, user, want string }{
		{"local", "host all all all trust\nlocal all all md5", "", "d", "u", "md5"},
		{"first wins", "host all all all reject\nhost all all all trust", "10.0.0.1", "d", "u", "rejects"},
		{"nothing fits", "host all all 10.0.0.0/8 trust", "11.0.0.1", "d", "u", "none"},
		{"empty", "# nothing\n\n", "11.0.0.1", "d", "u", "none"},
		{"cidr", "host all all 10.0.0.0/8 trust", "10.255.0.1", "d", "u", "trust"},
		{"bits beyond the mask", "host all all 10.9.9.9/8 trust", "10.255.0.1", "d", "u", "trust"},
		{"mask", "host all all 10.0.0.0 255.0.0.0 trust", "10.255.0.1", "d", "u", "trust"},
		{"mask with a hole", "host all all 10.0.0.7 255.0.0.255 trust", "10.255.0.7", "d", "u", "trust"},
		{"mask with a hole, other", "host all all 10.0.0.7 255.0.0.255 trust", "10.255.0.8", "d", "u", "none"},
		{"odd bits", "host all all 10.0.0.0/9 trust", "10.128.0.1", "d", "u", "none"},
		{"no bits", "host all all 0.0.0.0/0 trust", "10.128.0.1", "d", "u", "trust"},
		{"families are apart", "host all all 0.0.0.0/0 trust", "::1", "d", "u", "none"},
		{"families are apart, too", "host all all ::/0 trust", "10.0.0.1", "d", "u", "none"},
		{"IPv6", "host all all fe80::/10 trust", "fe80::1%eth0", "d", "u", "trust"},
		{"all addresses", "host all all all trust", "fe80::1%eth0", "d", "u", "trust"},
		{"samehost", "host all all samehost trust", "127.0.0.1", "d", "u", "trust"},
		{"samehost, other", "host all all samehost trust", "127.0.0.2", "d", "u", "none"},
		{"samenet", "host all all samenet trust", "127.9.9.2", "d", "u", "trust"},
		{"samenet, other", "host all all samenet trust", "203.0.113.9", "d", "u", "none"},
		{"hostssl in the clear", "hostssl all all all trust", "10.0.0.1", "d", "u", "none"},
		{"hostssl", "hostssl all all all trust", "10.0.0.1 tls", "d", "u", "trust"},
		{"hostnossl", "hostnossl all all all trust", "10.0.0.1", "d", "u", "trust"},
		{"hostnossl over TLS", "hostnossl all all all trust", "10.0.0.1 tls", "d", "u", "none"},
		{"hostnogssenc", "hostnogssenc all all all trust", "10.0.0.1 tls", "d", "u", "trust"},
		{"list", "local a, b,c all trust", "", "c", "u", "trust"},
		{"list, other", "local a,b,c all trust", "", "d", "u", "none"},
		{"quoted name", "local \"a b\" \"u,v\" trust", "", "a b", "u,v", "trust"},
		{"quoted keyword is a name", "local \"all\" all trust", "", "d", "u", "none"},
		{"quoted keyword is a name, too", "local \"all\" \"all\" trust", "", "all", "all", "trust"},
		{"quotes within a word", "local a\"b c\"d all trust", "", "ab cd", "u", "trust"},
		{"doubled quote", `local "a""b" all trust`, "", `a"b`, "u", "trust"},
		{"case counts", "local D all trust", "", "d", "u", "none"},
		{"sameuser", "local sameuser all trust", "", "u", "u", "trust"},
		{"sameuser, other", "local sameuser all trust", "", "sameuser", "u", "none"},
		{"replication is no database", "local replication all trust", "", "replication", "u", "none"},
		{"but so quoted", "local \"replication\" all trust", "", "replication", "u", "trust"},
		{"comment behind", "local all all trust # local all all reject", "", "d", "u", "trust"},
		{"continued line", "local all \\\n all \\\n trust", "", "d", "u", "trust"},
		{"CR LF", "local all all trust\r\n", "", "d", "u", "trust"},
		{"names from a file", "local @names.txt all trust", "", "d 3", "u", "trust"},
		{"names from a file, other", "local @names.txt all trust", "", "d4", "u", "none"},
		{"nobody from a file", "local all @none.txt trust", "", "d", "u", "none"},
		{"included", "include other\nlocal all all reject", "", "d", "u", "rejects"},
		{"quoted method and type", `"local" all all "md5"`, "", "d", "u", "md5"},
		{"ident on a socket is peer", "local all all ident", "", "d", "u", "peer"},
		{"cert", "hostssl all all all cert clientname=CN", "10.0.0.1 tls", "d", "u", "cert"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := parseHBA("hba", "", files{
				"hba": c.file, "names.txt": "d1, d2\n# nobody else\n\"d 3\"", "none.txt": "", "other": "include_if_exists gone\nlocal x x trust",
			}.reader())
			if err != nil {
				t.Fatal(err)
			}
			rule, err := h.match(&Login{User: c.user, Database: c.database, Origin: from(c.address)})
			have := ""
			switch {
			case err == nil:
				for word, m := range hbaMethods {
					if m == rule.method {
						have = word
					}
				}
			case strings.HasPrefix(err.Error(), "no pg_hba.conf entry"):
				have = "none"
			case strings.HasPrefix(err.Error(), "pg_hba.conf rejects"):
				have = "rejects"
			}
			if have != c.want {
				t.Errorf("have %q (%v), want %q", have, err, c.want)
			}
		})
	}
}

// TestHBAFaults name file and line, all at once, and say what to do.
func TestHBAFaults(t *testing.T) {
	for line, want := range map[string]string{
		"loca all all trust":                     `unknown connection type "loca"; use local, host`,
		"hostgssenc all all all trust":           "remove the line",
		"local":                                  "ends before its databases",
		"local all":                              "ends before its users",
		"local all all":                          "ends before its method",
		"host all all":                           "ends before its address",
		"host all all 10.0.0.1":                  "write 10.0.0.1/32",
		"host all all 10.0.0.1 ::1 trust":        "not a mask",
		"host all all 10.0.0.1/33 trust":         "up to 32",
		"host all all ::1/129 trust":             "up to 128",
		"host all all example.com trust":         "host names are not looked up",
		"host all all .example.com trust":        "host names are not looked up",
		"host all all \"all\" trust":             "not an address",
		"host all all 10.0.0.1/8,::1/8 trust":    "only one address",
		"local all +admins trust":                "the pooler does not know the members of a role",
		"local samerole all trust":               "the pooler does not know who is a member",
		"local /^a all trust":                    "regular expressions are not supported",
		"local all all gss":                      `method "gss" is not supported`,
		"host all all all peer":                  "unix sockets alone",
		"host all all all cert":                  "hostssl",
		"local all all trust x":                  "name=value",
		"local all all trust map=x":              "map= is for",
		"local all all peer map=x":               "no such map",
		"host all all all md5 clientcert=1":      "hostssl",
		"hostssl all all all md5 clientcert=1":   "verify-full",
		"hostssl all all all cert clientname=DN": "common name",
		"local all all trust a=b":                "unknown option",
		"local all \"all trust":                  "not closed",
		"include":                                "include wants one name",
		"include gone":                           "gone",
		"include hba":                            "too many files include each other",
		"local @gone all trust":                  "gone",
		"local @loop all trust":                  "too many files include each other",
	} {
		_, err := parseHBA("hba", "", files{"hba": "# first\n" + line + "\nlocal all all nonsense\n", "loop": "@loop"}.reader())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hba:2: ") {
			t.Errorf("%s: %v", line, err)
		} else if !strings.Contains(err.Error(), "hba:3: ") {
			t.Errorf("%s: the fault behind it is not told: %v", line, err)
		}
	}
}

func TestIdentMaps(t *testing.T) {
	const maps = "m alice web\nm /^(.*)@example\\.com$ \\1\nm root all\nm /^x$ \"all\"\nother alice db # comment\n"
	h := hbaOf(t, "local all all peer map=m", maps)
	for _, c := range []struct {
		system, user string
		allowed      bool
	}{
		{"alice", "web", true},
		{"alice", "alice", false},
		{"alice", "db", false},
		{"bob@example.com", "bob", true},
		{"bob@example.com", "eve", false},
		{"bob@example.community", "bob", false},
		{"root", "anybody", true},
		{"x", "anybody", false},
		{"x", "all", true},
		{"", "web", false},
	} {
		l := Login{User: c.user, Origin: Origin{Local: true, SocketUser: func() (string, error) { return c.system, nil }}}
		v, err := NewVerifier(Policy{Method: ByHBA, HBA: h})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Begin(t.Context(), l); (err == nil) != c.allowed {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, line := range []string{"m a", "m a b c", "m /( b", "m /a \\1", "m a +b", "m a,c b"} {
		if err := (identMaps{}).load("i", files{"i": line}.reader()); err == nil || !strings.Contains(err.Error(), "i:1: ") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestHBACertificates: cert wants the user's own, clientcert=verify-ca any, verify-full the user's own beside the password.
func TestHBACertificates(t *testing.T) {
	u, err := ParseUserFile(`"u" "secret"`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line, name string
		certified  bool
		want       string
	}{
		{"cert", "u", true, "in"},
		{"cert", "v", true, "certificate authentication failed"},
		{"cert", "", false, "valid client certificate"},
		{"cert", "", true, "certificate authentication failed"},
		{"cert map=m", "web", true, "in"},
		{"scram-sha-256 clientcert=verify-ca", "v", true, "asked"},
		{"scram-sha-256 clientcert=verify-ca", "", false, "valid client certificate"},
		{"scram-sha-256 clientcert=verify-full", "v", true, "certificate authentication failed"},
		{"scram-sha-256 clientcert=verify-full", "u", true, "asked"},
	} {
		v, err := NewVerifier(Policy{Method: ByHBA, Users: u, HBA: hbaOf(t, "hostssl all all all "+c.line, "m web u")})
		if err != nil {
			t.Fatal(err)
		}
		o := from("10.0.0.1 tls")
		o.Certified, o.CertificateName = c.certified, c.name
		e, err := v.Begin(t.Context(), Login{User: "u", Database: "d", Origin: o})
		have := fmt.Sprint(err)
		if err == nil {
			if _, done := e.Start(); done {
				have = "in"
			} else {
				have = "asked"
			}
		} else if told := (*protocol.Error)(nil); !errors.As(err, &told) || told.Code != "28000" {
			t.Errorf("%+v: %v", c, err)
		}
		if !strings.Contains(have, c.want) {
			t.Errorf("%+v: %s", c, have)
		}
	}
	if _, err := NewVerifier(Policy{Method: ByHBA, HBA: hbaOf(t, "local all all md5", "")}); err == nil {
		t.Error("passwords are asked for without a user file")
	}
}

// FuzzHBA: no text makes the reader panic or run away.
func FuzzHBA(f *testing.F) {
	f.Add("local all all trust\nhost a,\"b c\" @x 10.0.0.0 255.0.0.0 md5 map=m\ninclude hba\n\\\n", "m /(.)$ \\1")
	f.Add("hostssl \"\"\"\" sameuser ::1%1/128 cert clientcert=verify-full\n", "")
	f.Fuzz(func(_ *testing.T, text, maps string) {
		h, err := parseHBA("hba", "ident", files{"hba": text, "ident": maps, "x": text}.reader())
		if err != nil {
			return
		}
		for _, address := range []string{"", "10.0.0.1", "::1 tls"} {
			_, _ = h.match(&Login{User: "u", Database: "d", Origin: from(address)})
		}
		h.maps.allow("m", "a", "a")
	})
}

// TestLoadHBA reads real files.
func TestLoadHBA(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"hba.conf": "include_dir more\n", "more/2.conf": "local all all reject", "more/1.conf": "local all all peer map=m",
		"more/.hidden.conf": "nonsense", "more/readme": "nonsense", "ident.conf": "m a b",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h, err := LoadHBA(filepath.Join(dir, "hba.conf"), filepath.Join(dir, "ident.conf"))
	if err != nil || len(h.rules) != 2 || h.rules[0].method != SocketUser {
		t.Errorf("%+v, %v", h, err)
	}
}
