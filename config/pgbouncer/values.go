package pgbouncer

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// valueType is the type of a setting in PgBouncer.
type valueType uint8

const (
	text    valueType = iota
	integer           // strtol with base 0: 0777 is octal, 0x20 hexadecimal; switches are integers too
	seconds           // a decimal number, never with a unit
	word              // one of a list, in any case
)

// String returns the name of the type in the documents.
func (t valueType) String() string { return [...]string{"text", "integer", "seconds", "word"}[t] }

// check reads a value as PgBouncer does. It returns the form that the rest of this package works with: a decimal integer, a decimal
// number of seconds, or a word in lower case. The error does not repeat the value.
func (t valueType) check(value string, words []string) (string, error) {
	switch t {
	case integer:
		n, err := parseInteger(value)
		return strconv.FormatInt(n, 10), err
	case seconds:
		s, err := strconv.ParseFloat(strings.TrimLeft(value, space), 64)
		if err != nil || s < 0 || math.IsInf(s, 0) || math.IsNaN(s) {
			return "", errors.New("PgBouncer expects a number of seconds here, without a unit")
		}
		return strconv.FormatFloat(s, 'f', -1, 64), nil
	case word:
		for _, w := range words {
			if strings.EqualFold(w, value) {
				return w, nil
			}
		}
		return "", fmt.Errorf("PgBouncer expects one of %s here", strings.Join(words, ", "))
	case text:
	}
	return value, nil
}

// parseInteger reads a number as strtol does with base 0. ParseInt with base 0 also accepts 0b and underscores, which strtol does not.
func parseInteger(value string) (int64, error) {
	digits := strings.TrimLeft(value, space)
	n, err := strconv.ParseInt(digits, 0, 32)
	other := strings.Contains(digits, "_") || strings.ContainsAny(digits, "oObB") && !strings.ContainsAny(digits, "xX")
	if err != nil || other {
		return 0, errors.New("PgBouncer expects a whole number here")
	}
	return n, nil
}

// parseAtoi reads the number at the start of a value as atoi does in connection strings: 0 if there is none.
func parseAtoi(value string) int {
	value = strings.TrimLeft(value, space)
	end := 0
	for end < len(value) && ('0' <= value[end] && value[end] <= '9' || end == 0 && (value[0] == '-' || value[0] == '+')) {
		end++
	}
	n, _ := strconv.ParseInt(value[:end], 10, 32) // at an overflow, the largest number
	return int(n)
}

// pair is one key=value of a connection string.
type pair struct{ key, value string }

var errConnectionString = errors.New("syntax error: expected key=value pairs with blanks between them, and quotes around values with blanks")

// parsePairs reads a connection string. Only a blank ends an unquoted value; two quotes inside quotes stand for one. PgBouncer
// accepts no empty value.
func parsePairs(s string) ([]pair, error) {
	var pairs []pair
	for {
		s = strings.TrimLeft(s, space)
		if s == "" {
			return pairs, nil
		}
		end := strings.IndexAny(s, "= ")
		if end <= 0 {
			return nil, errConnectionString
		}
		key := s[:end]
		s = strings.TrimLeft(s[end:], space)
		if !strings.HasPrefix(s, "=") {
			return nil, errConnectionString
		}
		value, rest, ok := cutValue(strings.TrimLeft(s[1:], space))
		if !ok || value == "" {
			return nil, errConnectionString
		}
		pairs = append(pairs, pair{key, value})
		s = rest
	}
}

// cutValue reads the value at the start of a text. The byte behind it is dropped, whatever it is, as in PgBouncer.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, "'") {
		value, rest, _ = strings.Cut(s, " ")
		return value, rest, true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] == '\'' {
			if i+1 == len(s) || s[i+1] != '\'' {
				return b.String(), s[min(i+2, len(s)):], true
			}
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
