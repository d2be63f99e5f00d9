// Package top owns the terminal's view of a running pooler: it asks the API of the admin endpoint and lays the answer out as lines of
// text. It must not know the pooler itself, nor a terminal: the caller says how many columns and lines there are, and writes them.
//
// `hybridbouncer top` calls it from one goroutine. Read Client first, then Lines.
package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// bodyMax bounds an answer; an overview of a hundred pools and applications has a tenth of it.
const bodyMax = 4 << 20

// Client asks one admin endpoint.
type Client struct {
	URL      string // without a path, such as http://127.0.0.1:9127
	Password string // of [admin]; empty: none
	HTTP     *http.Client
}

// View is what one question has given: the fields of /api/v1/overview that are shown, and the utilization of the last minutes.
type View struct {
	Version       string  `json:"version"`
	UptimeSeconds float64 `json:"uptime_seconds"`
	Verdict       struct {
		Level    string `json:"level"`
		Sentence string `json:"sentence"`
	} `json:"verdict"`
	Attention []struct {
		Level string `json:"level"`
		Text  string `json:"text"`
	} `json:"attention"`
	Listeners    []Listener    `json:"listeners"`
	Pools        []Pool        `json:"pools"`
	Applications []Application `json:"applications"`
	Process      struct {
		Logins   uint64   `json:"logins"`
		Panics   uint64   `json:"panics"`
		LoopBusy *float64 `json:"loop_busy"`
	} `json:"process"`

	Past map[string][]float64 `json:"-"` // parts of a listener's servers that were lent, oldest first; negative: not known
}

// Listener is a listener of a View.
type Listener struct {
	Name          string  `json:"name"`
	Level         string  `json:"level"`
	Size          int     `json:"size"`
	CheckedOut    int     `json:"checked_out"`
	Utilization   float64 `json:"utilization"`
	Waiting       int     `json:"waiting"`
	MaxWait       float64 `json:"max_wait_seconds"`
	Clients       int     `json:"clients"`
	MaxClientConn int     `json:"max_client_conn"`
	Rates         *struct {
		Transactions float64 `json:"transactions_per_second"`
		Queries      float64 `json:"queries_per_second"`
		Wait         p99     `json:"wait_seconds"`
		Query        p99     `json:"query_seconds"`
	} `json:"rates"`
}

type p99 struct {
	P99 *float64 `json:"p99"`
}

// Pool is a pool of a View.
type Pool struct {
	Listener          string         `json:"listener"`
	Database          string         `json:"database"`
	User              string         `json:"user"`
	Size              int            `json:"size"`
	CheckedOut        int            `json:"checked_out"`
	Overflow          int            `json:"overflow"`
	Waiting           int            `json:"waiting"`
	MaxWait           float64        `json:"max_wait_seconds"`
	OldestTransaction float64        `json:"oldest_transaction_seconds"`
	Clients           map[string]int `json:"clients"`
	Servers           map[string]int `json:"servers"`
	Transactions      uint64         `json:"transactions"`
}

// Application is an application of a View.
type Application struct {
	Name         string `json:"application_name"`
	Others       bool   `json:"others"`
	Listener     string `json:"listener"`
	Clients      int    `json:"clients"`
	Transactions uint64 `json:"transactions"`
	Long         struct {
		Count uint64 `json:"count"`
	} `json:"long_transactions"`
	ServerSeconds float64 `json:"server_seconds"`
	Advice        string  `json:"advice"`
}

// pastSpan and pastPoints are the stretch of the past that the small plots show.
const (
	pastSpan   = 300
	pastPoints = 30
)

// Look asks for a View. An error says in plain words what the operator can do about it.
func (c *Client) Look(ctx context.Context) (*View, error) {
	v := &View{Past: map[string][]float64{}}
	if err := c.get(ctx, "/api/v1/overview", v); err != nil {
		return nil, err
	}
	var past struct {
		Series []struct {
			Listener, Field string
			Values          []*float64
		}
	}
	if err := c.get(ctx, fmt.Sprintf("/api/v1/history?kind=listener&span=%d&points=%d", pastSpan, pastPoints), &past); err != nil {
		return nil, err
	}
	sizes := map[string][]*float64{}
	for _, s := range past.Series {
		if s.Field == "size" {
			sizes[s.Listener] = s.Values
		}
	}
	for _, s := range past.Series {
		size := sizes[s.Listener]
		if s.Field != "busy" || len(size) != len(s.Values) {
			continue
		}
		for i, busy := range s.Values {
			part := -1.0
			if busy != nil && size[i] != nil && *size[i] > 0 {
				part = *busy / *size[i]
			}
			v.Past[s.Listener] = append(v.Past[s.Listener], part)
		}
	}
	return v, nil
}

// get reads one path of the API.
func (c *Client) get(ctx context.Context, path string, to any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+path, nil)
	if err != nil {
		return fmt.Errorf("the address of the admin endpoint: %w", err)
	}
	if c.Password != "" {
		r.SetBasicAuth("operator", c.Password)
	}
	answer, err := c.HTTP.Do(r)
	if err != nil {
		return fmt.Errorf("ask the admin endpoint: %w; is the pooler running, with admin.listen set?", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, bodyMax))
	switch {
	case err != nil:
		return fmt.Errorf("read the answer of the admin endpoint: %w", err)
	case answer.StatusCode == http.StatusUnauthorized:
		return errors.New("the admin endpoint wants a password: -config with the pooler's file, or HYBRIDBOUNCER_ADMIN_PASSWORD")
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("the admin endpoint answers %d: %s", answer.StatusCode, strings.TrimSpace(string(body)))
	}
	if err := json.Unmarshal(body, to); err != nil {
		return fmt.Errorf("%s%s is not the API of a hybridbouncer: %w", c.URL, path, err)
	}
	return nil
}

// Patience is how long one question may take: more than the endpoint waits for its event loops.
const Patience = 3 * time.Second
