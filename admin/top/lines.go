package top

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Columns and lines that are always used, however small the terminal says it is.
const (
	widthMin  = 40
	heightMin = 10
)

// colors are the terminal's codes by level.
var colors = map[string]string{"ok": "32", "warning": "33", "critical": "31", "emergency": "1;31", "advice": "36", "head": "2", "bold": "1"}

// Lines lays a View out in at most height lines of at most width columns; a height of 0 means as many lines as there are. Names come
// from clients: characters that a terminal would obey are shown as question marks.
func Lines(v *View, width, height int, colored bool) []string {
	p := &paper{width: max(width, widthMin), colored: colored}
	p.line("bold", "hybridbouncer %s, running for %s. Logins %d, busiest loop %s%s", v.Version, duration(v.UptimeSeconds), v.Process.Logins,
		percent(v.Process.LoopBusy), panics(v.Process.Panics))
	p.wrapped(v.Verdict.Level, v.Verdict.Sentence)
	for i, a := range v.Attention {
		if i == 5 {
			p.line("head", "  and %d more: see the page", len(v.Attention)-i)
			break
		}
		p.wrapped(a.Level, "  "+a.Level+": "+a.Text)
	}
	p.line("", "")
	p.listeners(v)
	p.line("", "")
	p.pools(v.Pools)
	p.line("", "")
	p.applications(v.Applications)
	if height > 0 && len(p.lines) > max(height, heightMin) {
		p.lines = p.lines[:max(height, heightMin)]
	}
	return p.lines
}

// paper collects lines.
type paper struct {
	width   int
	colored bool
	lines   []string
}

// line adds a line, cut to the width.
func (p *paper) line(color, format string, args ...any) { p.put(color, fmt.Sprintf(format, args...)) }

func (p *paper) put(color, text string) {
	text = strings.TrimRight(cut(clean(text), p.width), " ")
	if code := colors[color]; p.colored && code != "" && text != "" {
		text = "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	p.lines = append(p.lines, text)
}

// wrapped adds a text in as many lines as it takes.
func (p *paper) wrapped(color, text string) {
	indent := len(text) - len(strings.TrimLeft(text, " "))
	row := strings.Repeat(" ", indent)
	empty := true
	for _, word := range strings.Fields(text) {
		if !empty && utf8.RuneCountInString(row)+1+utf8.RuneCountInString(word) > p.width {
			p.put(color, row)
			row, empty = strings.Repeat(" ", indent+2), true
		}
		if !empty {
			row += " "
		}
		row, empty = row+word, false
	}
	p.put(color, row)
}

func (p *paper) listeners(v *View) {
	p.line("head", "%-16s %8s %6s %5s %8s %9s %9s %9s %9s %11s  last 5 min", "LISTENER", "LENT", "UTIL", "WAIT", "LONGEST", "TX/S", "QUERY/S", "WAIT P99",
		"QUERY P99", "CLIENTS")
	for _, l := range v.Listeners {
		tx, queries, wait, query := "-", "-", "-", "-"
		if r := l.Rates; r != nil {
			tx, queries, wait, query = number(r.Transactions), number(r.Queries), optional(r.Wait.P99), optional(r.Query.P99)
		}
		p.line(l.Level, "%-16s %8s %5.0f%% %5d %8s %9s %9s %9s %9s %11s  %s", cut(clean(l.Name), 16), fmt.Sprintf("%d/%d", l.CheckedOut, l.Size), l.Utilization,
			l.Waiting, duration(l.MaxWait), tx, queries, wait, query, fmt.Sprintf("%d/%d", l.Clients, l.MaxClientConn), plot(v.Past[l.Name]))
	}
}

func (p *paper) pools(pools []Pool) {
	p.line("head", "%-32s %8s %5s %5s %5s %8s %10s %8s %12s", "POOL", "LENT", "IDLE", "OVER", "WAIT", "LONGEST", "OLDEST TX", "CLIENTS", "TX")
	for _, l := range pools {
		clients := 0
		for _, n := range l.Clients {
			clients += n
		}
		p.line("", "%-32s %8s %5d %5d %5d %8s %10s %8d %12d", cut(clean(l.Database+"/"+l.User+" "+l.Listener), 32), fmt.Sprintf("%d/%d", l.CheckedOut, l.Size),
			l.Servers["idle"], l.Overflow, l.Waiting, duration(l.MaxWait), duration(l.OldestTransaction), clients, l.Transactions)
	}
}

func (p *paper) applications(list []Application) {
	p.line("head", "%-24s %-16s %8s %12s %8s %12s  %s", "APPLICATION", "LISTENER", "CLIENTS", "TX", "LONG", "SERVER TIME", "ADVICE")
	for _, a := range list {
		name, color := a.Name, ""
		switch {
		case a.Others:
			name = "(all others)"
		case name == "":
			name = "(no name)"
		}
		if a.Advice != "" {
			color = "advice"
		}
		p.line(color, "%-24s %-16s %8d %12d %8d %12s  %s", cut(clean(name), 24), cut(clean(a.Listener), 16), a.Clients, a.Transactions, a.Long.Count,
			duration(a.ServerSeconds), a.Advice)
	}
}

// clean makes a text harmless for a terminal: no control character, nothing that turns the direction of writing.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) && !unicode.Is(unicode.Bidi_Control, r) {
			return r
		}
		return '?'
	}, text)
}

// cut shortens a text to so many columns.
func cut(text string, columns int) string {
	if utf8.RuneCountInString(text) <= columns {
		return text
	}
	return string([]rune(text)[:columns-1]) + "…"
}

// plot draws parts from 0 to 1 as blocks, and an unknown part as a dot.
func plot(parts []float64) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, part := range parts {
		if part < 0 {
			b.WriteRune('·')
			continue
		}
		b.WriteRune(blocks[min(len(blocks)-1, int(part*float64(len(blocks))))])
	}
	return b.String()
}

// duration words seconds in at most eight columns.
func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d == 0:
		return "0"
	case d < time.Millisecond:
		return fmt.Sprintf("%dus", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.3gms", float64(d)/1e6)
	case d < 2*time.Minute:
		return fmt.Sprintf("%.3gs", seconds)
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0fmin", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1fh", d.Hours())
	}
	return fmt.Sprintf("%.0fd", d.Hours()/24)
}

func optional(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return duration(*seconds)
}

func number(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.2fM", n/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.1fk", n/1e3)
	}
	return fmt.Sprintf("%.0f", n)
}

func percent(part *float64) string {
	if part == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", 100**part)
}

func panics(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", PANICS %d", n)
}
