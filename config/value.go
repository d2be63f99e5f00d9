package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fromEnv marks a raw value that came as text and may stand for any type.
type fromEnv string

// assign puts a raw value of the file (string, int64, float64, bool, []any) or of the environment into the field p points to.
// The error says what is wanted and never repeats the value: it may be a secret.
func assign(p, raw any) error {
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

func assignText(p *string, raw any) error {
	switch v := raw.(type) {
	case string:
		*p = v
	case fromEnv:
		*p = string(v)
	default:
		return fmt.Errorf("wants a text in quotes")
	}
	return nil
}

func assignNumber(p *int, raw any) error {
	switch v := raw.(type) {
	case int64:
		if v > math.MaxInt32 || v < math.MinInt32 {
			return fmt.Errorf("wants a smaller number")
		}
		*p = int(v)
		return nil
	case fromEnv:
		n, err := strconv.ParseInt(strings.TrimSpace(string(v)), 10, 32)
		if err == nil {
			*p = int(n)
			return nil
		}
	}
	return fmt.Errorf("wants a whole number without quotes")
}

// assignSwitch takes 0 and 1 beside true and false: that is how pgbouncer.ini writes it.
func assignSwitch(p *bool, raw any) error {
	word := ""
	switch v := raw.(type) {
	case bool:
		*p = v
		return nil
	case int64:
		word = strconv.FormatInt(v, 10)
	case fromEnv:
		word = strings.ToLower(strings.TrimSpace(string(v)))
	}
	switch word {
	case "1", "true", "yes", "on":
		*p = true
	case "0", "false", "no", "off":
		*p = false
	default:
		return fmt.Errorf("wants true or false")
	}
	return nil
}

var errDuration = errors.New(`wants a duration such as "5s", "500ms", "1h30m", or a number of seconds`)

// assignDuration takes "1m30s", and plain numbers as seconds as PgBouncer does.
func assignDuration(p *time.Duration, raw any) error {
	var seconds float64
	switch v := raw.(type) {
	case int64:
		seconds = float64(v)
	case float64:
		seconds = v
	case string:
		return parseDuration(p, v)
	case fromEnv:
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
	// Written so that NaN fails too.
	if !(math.Abs(seconds) <= maxDuration.Seconds()) {
		return fmt.Errorf("wants a number of seconds below a century")
	}
	*p = time.Duration(math.Round(seconds * float64(time.Second)))
	return nil
}

// assignList takes an array of texts, or one text with commas.
func assignList(p *[]string, raw any) error {
	var list []string
	switch v := raw.(type) {
	case string:
		list = splitList(v)
	case fromEnv:
		list = splitList(string(v))
	case []any:
		for _, element := range v {
			text, ok := element.(string)
			if !ok {
				return fmt.Errorf("wants a list of texts in quotes")
			}
			list = append(list, text)
		}
	default:
		return fmt.Errorf("wants a list of texts in quotes")
	}
	*p = list
	return nil
}

// splitList splits at commas and drops blanks and empty elements.
func splitList(text string) []string {
	var list []string
	for element := range strings.SplitSeq(text, ",") {
		if element = strings.TrimSpace(element); element != "" {
			list = append(list, element)
		}
	}
	return list
}

// show writes the value of the field p points to as TOML would. It does not mask: see Key.show.
func show(p any) string {
	switch p := p.(type) {
	case *string:
		return strconv.Quote(*p)
	case *int:
		return strconv.Itoa(*p)
	case *bool:
		return strconv.FormatBool(*p)
	case *time.Duration:
		return strconv.Quote(showDuration(*p))
	case *[]string:
		quoted := make([]string, len(*p))
		for i, element := range *p {
			quoted[i] = strconv.Quote(element)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	panic(fmt.Sprintf("bug: the key table has a field of type %T", p))
}

// showDuration writes a duration as people do: without the zero units time.Duration prints (1h, not 1h0m0s), and 60s, not 1m.
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

// masked stands wherever a secret would be shown.
const masked = "********"

// show writes the key's value in a section, masked if it is a secret.
func (k *Key) show(section any) string {
	text := show(k.field(section))
	if k.Secret && text != `""` {
		return strconv.Quote(masked)
	}
	return text
}

// copyField copies what one field points to into another of the same key.
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
