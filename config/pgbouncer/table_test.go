package pgbouncer

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// Every key that PgBouncer knows has a row, with its type and default, and no row is about another key.
func TestTablesAreComplete(t *testing.T) {
	text, err := os.ReadFile("testdata/keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string][]string{"pgbouncer": {"service_name"}} // job_name on Windows
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(fields) < 2 {
			continue
		}
		known[fields[0]] = append(known[fields[0]], fields[1])
		if fields[0] != "pgbouncer" {
			continue
		}
		row := settingRowOf(fields[1])
		if row == nil {
			t.Errorf("%s has no row", fields[1])
			continue
		}
		fallback := row.fallback
		if row.unset && row.key != "verbose" {
			fallback = "(none)"
		}
		if row.kind.String() != fields[2] || fallback != fields[3] {
			t.Errorf("%s is %s with default %q, PgBouncer has %s with %q", row.key, row.kind, fallback, fields[2], fields[3])
		}
	}
	if len(known["pgbouncer"]) < 95 {
		t.Fatalf("testdata/keys.txt names %d keys: it cannot be complete", len(known["pgbouncer"]))
	}
	for section, have := range map[string][]string{"pgbouncer": settingNames(), "databases": rowNames(databaseRows), "users": rowNames(userRows)} {
		slices.Sort(have)
		slices.Sort(known[section])
		if !slices.Equal(have, known[section]) {
			t.Errorf("[%s] has the rows\n%v, PgBouncer the keys\n%v", section, have, known[section])
		}
	}
}

func rowNames(rows []connectionRow) []string {
	var names []string
	for n := range rows {
		names = append(names, rows[n].key)
	}
	return names
}

// A row leads to a setting that exists, or says why there is none.
func TestRowsLeadToSettings(t *testing.T) {
	for n := range settingRows {
		row := &settingRows[n]
		section, key, ok := strings.Cut(row.to, ".")
		if !ok {
			section, key = "", row.to
		}
		switch {
		case row.to == "" && (row.why == "" || row.match == same):
			t.Errorf("%s leads nowhere and does not say why", row.key)
		case row.to != "" && config.SectionNamed(section).Key(key) == nil:
			t.Errorf("%s leads to %s, which is no setting", row.key, row.to)
		case row.match == differs && row.why == "":
			t.Errorf("%s differs and does not say how", row.key)
		case row.to != "" && section != "listener" && row.merge == perFile:
			t.Errorf("%s has no rule for several files", row.key)
		}
	}
	for section, rows := range map[string][]connectionRow{"databases": databaseRows, "users": userRows} {
		for n := range rows {
			if row := &rows[n]; row.to != "" && config.SectionNamed(section).Key(row.to) == nil || row.to == "" && row.why == "" {
				t.Errorf("%s %s leads to %q", section, row.key, row.to)
			}
		}
	}
}

// A key that the ini file does not set is left out, so our default must be PgBouncer's, unless the row writes it.
func TestDefaultsAreTheSame(t *testing.T) {
	for n := range settingRows {
		row := &settingRows[n]
		if row.to == "" || row.write || row.special != "" {
			continue
		}
		section, key, ok := strings.Cut(row.to, ".")
		if !ok {
			section, key = "", row.to
		}
		s := config.SectionNamed(section)
		value, err := row.kind.check(row.fallback, row.words)
		if err != nil {
			t.Errorf("%s: %v", row.key, err)
			continue
		}
		if row.convert != nil {
			if value, _, err = row.convert(value); err != nil {
				t.Errorf("%s: %v", row.key, err)
			}
		}
		translated, ours := s.Defaults(), s.Defaults()
		if row.key != "auth_query" { // the same question, with the names' schemas
			if err := config.Assign(s.Key(key).Field(translated), config.Text(value)); err != nil {
				t.Errorf("%s: %v", row.key, err)
			}
		}
		if have, want := config.Show(s.Key(key).Field(ours)), config.Show(s.Key(key).Field(translated)); have != want {
			t.Errorf("%s is %s without being set, PgBouncer's %s is %s", row.to, have, row.key, want)
		}
	}
}

func TestValues(t *testing.T) {
	for _, test := range []struct {
		kind        valueType
		value, want string // "": refused
	}{
		{integer, "0777", "511"},
		{integer, "0x20", "32"},
		{integer, " -1", "-1"},
		{integer, "+7", "7"},
		{integer, "0X1b", "27"},
		{integer, "0b1", ""},
		{integer, "0o7", ""},
		{integer, "1_000", ""},
		{integer, "08", ""},
		{integer, "5s", ""},
		{integer, "", ""},
		{integer, "99999999999", ""},
		{seconds, "0.5", "0.5"},
		{seconds, "90", "90"},
		{seconds, "5s", ""},
		{seconds, "-1", ""},
		{seconds, "inf", ""},
		{seconds, "nan", ""},
		{word, "Verify-FULL", "verify-full"},
		{word, "on", ""},
		{text, " x ", " x "},
	} {
		if have, err := test.kind.check(test.value, sslModes); have != test.want && err == nil || (err != nil) != (test.want == "") {
			t.Errorf("%s %q is %q, %v; want %q", test.kind, test.value, have, err, test.want)
		}
	}
	for value, want := range map[string]int{"5": 5, "10s": 10, "abc": 0, " -1": -1, "+3x": 3, "": 0, "0x10": 0, "99999999999": 1<<31 - 1} {
		if have := parseAtoi(value); have != want {
			t.Errorf("atoi of %q is %d, want %d", value, have, want)
		}
	}
}

func TestPairs(t *testing.T) {
	for text, want := range map[string]string{
		"a=1 b = 2":          "a=1|b=2",
		"a='x y'":            "a=x y",
		"a='it''s' b=2":      "a=it's|b=2",
		"  a=\t1\tb  c='='":  "a=1\tb|c==",
		"a='1'b c=2":         "a=1|c=2", // PgBouncer drops the byte behind a quote
		"a='1'":              "a=1",
		"":                   "",
		"a":                  "error",
		"a=":                 "error",
		"a='' b=1":           "error",
		"a='1":               "error",
		"a b=1":              "error",
		"=1":                 "error",
		"host=h password=p ": "host=h|password=p",
	} {
		pairs, err := parsePairs(text)
		var have []string
		for _, p := range pairs {
			have = append(have, p.key+"="+p.value)
		}
		joined := strings.Join(have, "|")
		if err != nil {
			joined = "error"
		}
		if joined != want {
			t.Errorf("%q is %s, want %s", text, joined, want)
		}
	}
}
