package pgbouncer

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// absolute makes a file name absolute. A relative one counts from the working directory, as in PgBouncer.
func absolute(value string) (converted, note string, err error) {
	if value == "" {
		return "", "", nil
	}
	converted, err = filepath.Abs(value)
	return converted, "", err
}

func poolSize(value string) (converted, note string, err error) {
	if n, _ := strconv.Atoi(value); n < 1 {
		return "", "", errors.New("0 is \"no limit\" in PgBouncer; every pool has a limit here: write the largest size that PostgreSQL has room for")
	}
	return value, "", nil
}

// shortest stands for the 0 of PgBouncer that means "each time".
const shortest = "1ms"

func checkDelay(value string) (converted, note string, err error) {
	if value == "0" {
		return shortest, "0, a test before each use, becomes " + shortest, nil
	}
	return value, "", nil
}

func lifetime(value string) (converted, note string, err error) {
	if value == "0" {
		return shortest, "0, one use for each server, becomes " + shortest, nil
	}
	return value, "", nil
}

func checkQuery(value string) (converted, note string, err error) {
	if value == "<empty>" {
		value = ";"
	}
	return value, "", nil
}

func milliseconds(value string) (converted, note string, err error) { return value + "ms", "", nil }

func octal(value string) (converted, note string, err error) {
	n, err := strconv.ParseUint(value, 10, 32)
	return fmt.Sprintf("%04o", n), "", err
}

func verbosity(value string) (converted, note string, err error) {
	if n, _ := strconv.Atoi(value); n > 0 {
		return "debug", "", nil
	}
	return "info", "", nil
}

func ciphers(value string) (converted, note string, err error) {
	if _, err := config.CipherSuites(value); err != nil {
		return "default", "this list becomes Go's choice: only names of cipher suites are understood", nil
	}
	return value, "", nil
}

// protocols reads the list of TLS versions, with commas or colons between them.
func protocols(value string) (converted, note string, err error) {
	v12, v13, older := false, false, false
	for name := range strings.FieldsFuncSeq(strings.ToLower(value), func(c rune) bool { return strings.ContainsRune(",: ", c) }) {
		switch name {
		case "secure", "default":
			v12, v13 = true, true
		case "all", "legacy", "tlsv1":
			v12, v13, older = true, true, true
		case "tlsv1.2":
			v12 = true
		case "tlsv1.3":
			v13 = true
		case "tlsv1.0", "tlsv1.1":
			older = true
		default:
			return "", "", fmt.Errorf("the TLS version %q is unknown", name)
		}
	}
	if older {
		note = "TLS 1.0 and 1.1 are not spoken here"
	}
	switch {
	case v12 && v13:
		return "secure", note, nil
	case v12:
		return "tlsv1.2", note, nil
	case v13:
		return "tlsv1.3", note, nil
	}
	return "", "", errors.New("only TLS 1.2 and 1.3 are spoken here")
}
