package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Text is a raw value without a type of its own: the environment and PgBouncer's files have nothing else. It can stand for any type.
type Text string

// Assign puts a raw value (string, int64, float64, bool or []any of a TOML file, or Text) into the field that p points to. The error
// says what the field needs. It never repeats the value, which may be a secret.
func Assign(p, raw any) error {
	switch p := p.(type) {
	case *string:
		return assignText(p, raw)
	case *int:
		return assignNumber(p, raw)
	case *bool:
		return assignSwitch(p, raw)
	case *time.Duration:
		return assignDuration(p, raw)
	case *[]string:
		return assignList(p, raw)
	}
	panic(fmt.Sprintf("bug: the key table has a field of type %T", p))
}

// Assign puts a raw value into the key's field of a section; see the function Assign. A 0 that is written for a key with Off switches the
// limit off: the field is negative then.
func (k *Key) Assign(section, raw any) error {
	p := k.field(section)
	if err := Assign(p, raw); err != nil || k.Off == "" {
		return err
	}
	switch p := p.(type) {
	case *int:
		if *p == 0 {
			*p = off
		}
	case *time.Duration:
		if *p == 0 {
			*p = off
		}
	}
	return nil
}

// off is the value of an overriding limit that is written as 0. It cannot be written otherwise.
const off = math.MinInt64

// limit returns the first of these values that is set; 0 if none is, or if that one is off.
func limit[T int | time.Duration](values ...T) T { return max(cmp.Or(values...), 0) }

func assignText(p *string, raw any) error {
	switch v := raw.(type) {
	case string:
		*p = v
	case Text:
		*p = string(v)
	default:
		return fmt.Errorf("must be a text in quotes")
	}
	return nil
}

func assignNumber(p *int, raw any) error {
	switch v := raw.(type) {
	case int64:
		if v > math.MaxInt32 || v < math.MinInt32 {
			return fmt.Errorf("must be a smaller number")
		}
		*p = int(v)
		return nil
	case Text:
		n, err := strconv.ParseInt(strings.TrimSpace(string(v)), 10, 32)
		if err == nil {
			*p = int(n)
			return nil
		}
	}
	return fmt.Errorf("must be a whole number without quotes")
}

// assignSwitch also accepts 0 and 1, as pgbouncer.ini writes them.
func assignSwitch(p *bool, raw any) error {
	word := ""
	switch v := raw.(type) {
	case bool:
		*p = v
		return nil
	case int64:
		word = strconv.FormatInt(v, 10)
	case Text:
		word = strings.ToLower(strings.TrimSpace(string(v)))
	}
	switch word {
	case "1", "true", "yes", "on":
		*p = true
	case "0", "false", "no", "off":
		*p = false
	default:
		return fmt.Errorf("must be true or false")
	}
	return nil
}

var errDuration = errors.New(`must be a duration such as "5s", "500ms", "1h30m", or a number of seconds`)

// assignDuration accepts "1m30s", and a plain number as seconds, like PgBouncer.
func assignDuration(p *time.Duration, raw any) error {
	var seconds float64
	switch v := raw.(type) {
	case int64:
		seconds = float64(v)
	case float64:
		seconds = v
	case string:
		return parseDuration(p, v)
	case Text:
		return parseDuration(p, string(v))
	default:
		return errDuration
	}
	return setSeconds(p, seconds)
}

func parseDuration(p *time.Duration, text string) error {
	text = strings.TrimSpace(text)
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		return setSeconds(p, seconds)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return errDuration
	}
	*p = d
	return nil
}

func setSeconds(p *time.Duration, seconds float64) error {
	// NaN fails this comparison too.
	if !(math.Abs(seconds) <= durationMax.Seconds()) {
		return fmt.Errorf("must be a number of seconds below a century")
	}
	*p = time.Duration(math.Round(seconds * float64(time.Second)))
	return nil
}

// assignList accepts an array of texts, or one text with commas.
func assignList(p *[]string, raw any) error {
	var list []string
	switch v := raw.(type) {
	case string:
		list = SplitList(v)
	case Text:
		list = SplitList(string(v))
	case []any:
		for _, element := range v {
			text, ok := element.(string)
			if !ok {
				return fmt.Errorf("must be a list of texts in quotes")
			}
			list = append(list, text)
		}
	default:
		return fmt.Errorf("must be a list of texts in quotes")
	}
	*p = list
	return nil
}

// SplitList splits a text at commas. It drops blanks around elements, and empty elements.
func SplitList(text string) []string {
	var list []string
	for element := range strings.SplitSeq(text, ",") {
		if element = strings.TrimSpace(element); element != "" {
			list = append(list, element)
		}
	}
	return list
}

// Show writes the value of the field that p points to as TOML does. It masks nothing: see Key.Show.
func Show(p any) string {
	switch p := p.(type) {
	case *string:
		return QuoteText(*p)
	case *int:
		if *p == off {
			return "0"
		}
		return strconv.Itoa(*p)
	case *bool:
		return strconv.FormatBool(*p)
	case *time.Duration:
		if *p == off {
			return QuoteText(showDuration(0))
		}
		return QuoteText(showDuration(*p))
	case *[]string:
		quoted := make([]string, len(*p))
		for i, element := range *p {
			quoted[i] = QuoteText(element)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	panic(fmt.Sprintf("bug: the key table has a field of type %T", p))
}

// showDuration writes a duration as people do: 1h instead of the 1h0m0s of time.Duration, and 60s instead of 1m.
func showDuration(d time.Duration) string {
	if d%time.Second == 0 && d < 2*time.Minute {
		return strconv.Itoa(int(d/time.Second)) + "s"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// masked replaces every secret.
const masked = "********"

// Show writes the key's value in a section as TOML does, masked if it is a secret.
func (k *Key) Show(section any) string {
	text := Show(k.field(section))
	if k.Secret && text != `""` {
		return QuoteText(masked)
	}
	return text
}

// copyField copies the value of one field into another field of the same key.
func copyField(to, from any) {
	switch to := to.(type) {
	case *string:
		*to = *from.(*string)
	case *int:
		*to = *from.(*int)
	case *bool:
		*to = *from.(*bool)
	case *time.Duration:
		*to = *from.(*time.Duration)
	case *[]string:
		*to = slices.Clone(*from.(*[]string))
	}
}
