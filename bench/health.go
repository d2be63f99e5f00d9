package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// healthReport is one listener in the answer of GET /health/db. Keys beyond these are allowed and not looked at.
type healthReport struct {
	Size        *int     `json:"size"`
	CheckedOut  *int     `json:"checked_out"`
	Utilization *float64 `json:"utilization"`
	Overflow    *int     `json:"overflow"`
	Waiting     *int     `json:"waiting"`
	MaxWait     *float64 `json:"max_wait_seconds"`
	Level       string   `json:"level"`
}

// levels in rising order; an index into it is a level.
var levels = []string{"ok", "warning", "critical", "emergency"}

const levelEmergency = 3

// healthSeen is the worst that was reported of one listener.
type healthSeen struct {
	seen                          bool
	worst                         int // index into levels
	checkedOut, overflow, waiting int
	maxWait                       float64
}

func (h healthSeen) String() string {
	if !h.seen {
		return "not reported"
	}
	return fmt.Sprintf("worst level %s; at most %d checked out, overflow %d, %d waiting, wait %.2f s", levels[h.worst], h.checkedOut, h.overflow, h.waiting, h.maxWait)
}

// watchHealth asks /health/db again and again until ctx ends.
func (t *tally) watchHealth(ctx context.Context, address string) {
	const interval, due = 200 * time.Millisecond, 5 * time.Second
	asker := &http.Client{Timeout: due}
	defer asker.CloseIdleConnections()
	for pause(ctx, interval) == nil {
		report, err := askHealth(context.WithoutCancel(ctx), asker, address)
		if err != nil {
			t.fail("health", err)
			continue
		}
		t.noteHealth(report)
	}
}

// askHealth fetches one answer and checks that every key of the contract is there.
func askHealth(ctx context.Context, asker *http.Client, address string) (map[string]healthReport, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := asker.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	const bodyMax = 1 << 20
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyMax))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusServiceUnavailable {
		return nil, fmt.Errorf("%s answers %s", address, response.Status)
	}
	return parseHealth(body)
}

func parseHealth(body []byte) (map[string]healthReport, error) {
	var report map[string]healthReport
	if err := json.Unmarshal(body, &report); err != nil {
		return nil, fmt.Errorf("/health/db answers %.200q: %w", body, err)
	}
	for name, one := range report {
		if one.Size == nil || one.CheckedOut == nil || one.Utilization == nil || one.Overflow == nil || one.Waiting == nil || one.MaxWait == nil {
			return nil, fmt.Errorf("/health/db lacks a key of listener %q: %.500s", name, body)
		}
		if !slices.Contains(levels, one.Level) {
			return nil, fmt.Errorf("/health/db knows no level %q (listener %q)", one.Level, name)
		}
	}
	return report, nil
}

func (t *tally) noteHealth(report map[string]healthReport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.healthPolls++
	for name, one := range report {
		worst := t.health[name]
		worst.seen = true
		worst.worst = max(worst.worst, slices.Index(levels, one.Level))
		worst.checkedOut = max(worst.checkedOut, *one.CheckedOut)
		worst.overflow = max(worst.overflow, *one.Overflow)
		worst.waiting = max(worst.waiting, *one.Waiting)
		worst.maxWait = max(worst.maxWait, *one.MaxWait)
		t.health[name] = worst
	}
}
