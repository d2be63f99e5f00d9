package compat

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Script holds the steps of one or more clients. A text file of testdata is one:
//
//	# An English paragraph: what must happen, and why it is worth playing.
//	setup create table t (n int)          run beforehand, on PostgreSQL itself, in an empty schema of its own
//	startup 3.2 application_name=x        how the clients log in, instead of 3.0 with user and database only; "none": they do not, and
//	                                      what they are sent first is the first that is sent
//	client> Parse "" "select 1" | Sync    sent in one go
//	client until ReadyForQuery x2         read until this message has come (so many times since the last until)
//	client until closed                   read until the other side closes
//	client until byte                     read a single byte, the answer to a request for encryption
//	client reset                          break the socket with a RST; "close": with a FIN, without Terminate
//	other> Query "notify c"               any other name is a further client, which logs in at its first line
//	cancel client                         a CancelRequest with the client's key; "cancel client wrong": with a wrong secret
//	running pg_sleep                      wait until a statement with this text waits in the database
//
// Clients that are still there at the end say the epilogue (see play.go), which shows whether the two sides still agree.
type Script struct {
	Name    string
	About   string
	Setup   []string
	Startup Startup
	Steps   []Step
}

// Startup is the first packet of a script's clients.
type Startup struct {
	Version uint32
	// Params follow user and database. A parameter without a value is left out: it takes a default away.
	Params [][2]string
	// Raw replaces the whole packet; empty but not nil: nothing is sent.
	Raw []byte
}

// Action is the kind of a step.
type Action uint8

// The actions, in the order of Script's description.
const (
	Send Action = iota
	Until
	Reset
	Close
	Cancel
	Running
)

// Step is one line of a script.
type Step struct {
	Action Action
	Client string
	Bytes  []byte // Send
	Text   string // Until: the message's name or "closed"; Running: part of the statement; Cancel: "wrong" or empty
	Times  int    // Until
}

// Load reads all scripts of a folder.
func Load(folder string) ([]Script, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		return nil, err
	}
	scripts := make([]Script, 0, len(paths))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		s, err := Parse(strings.TrimSuffix(filepath.Base(path), ".txt"), string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		scripts = append(scripts, s)
	}
	return scripts, nil
}

// Parse reads one script.
func Parse(name, text string) (Script, error) {
	s := Script{Name: name, Startup: Startup{Version: 3 << 16}}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if about, ok := strings.CutPrefix(line, "#"); ok {
			s.About += strings.TrimSpace(about) + "\n"
			continue
		}
		if line == "" {
			continue
		}
		if err := s.add(line); err != nil {
			return s, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return s, nil
}

// add understands one line.
func (s *Script) add(line string) error {
	first, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch first {
	case "setup":
		s.Setup = append(s.Setup, rest)
		return nil
	case "startup":
		var err error
		s.Startup, err = startupOf(rest)
		return err
	case "running":
		s.Steps = append(s.Steps, Step{Action: Running, Text: rest})
		return nil
	case "cancel":
		client, how, _ := strings.Cut(rest, " ")
		s.Steps = append(s.Steps, Step{Action: Cancel, Client: client, Text: how})
		return nil
	}
	if client, ok := strings.CutSuffix(first, ">"); ok {
		b, err := EncodeLine(rest)
		s.Steps = append(s.Steps, Step{Action: Send, Client: client, Bytes: b})
		return err
	}
	return s.addWait(first, strings.Fields(rest))
}

func (s *Script) addWait(client string, words []string) error {
	step := Step{Client: client, Times: 1}
	switch {
	case len(words) == 1 && words[0] == "reset":
		step.Action = Reset
	case len(words) == 1 && words[0] == "close":
		step.Action = Close
	case len(words) >= 2 && words[0] == "until":
		step.Action, step.Text = Until, words[1]
		if len(words) == 3 {
			n, err := strconv.Atoi(strings.TrimPrefix(words[2], "x"))
			if err != nil {
				return err
			}
			step.Times = n
		}
	default:
		return fmt.Errorf("no such step: %s %s", client, strings.Join(words, " "))
	}
	s.Steps = append(s.Steps, step)
	return nil
}

// startupOf reads how clients log in: a version and parameters, values quoted if need be; "raw HEX"; or "none".
func startupOf(text string) (Startup, error) {
	words, err := splitWords(text)
	if err != nil {
		return Startup{}, err
	}
	switch {
	case len(words) > 0 && words[0] == "raw":
		raw, err := parseHex(strings.Join(words[1:], ""))
		return Startup{Raw: raw}, err
	case len(words) == 1 && words[0] == "none":
		return Startup{Raw: []byte{}}, nil
	}
	return parseStartup(words)
}

// parseStartup reads "3.2 name=value ...".
func parseStartup(words []string) (Startup, error) {
	if len(words) == 0 {
		return Startup{}, errors.New("a startup packet wants a version")
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(words[0], "%d.%d", &major, &minor); err != nil {
		return Startup{}, fmt.Errorf("startup %s: %w", words[0], err)
	}
	up := Startup{Version: major<<16 | minor}
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		up.Params = append(up.Params, [2]string{name, value})
	}
	return up, nil
}
