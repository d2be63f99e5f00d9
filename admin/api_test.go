package admin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hybridbouncer/hybridbouncer/admin/history"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// openAPIDoc is what the tests read of openapi.json.
type openAPIDoc struct {
	Paths map[string]struct {
		Get struct {
			Parameters []struct {
				Name   string
				Schema struct {
					Minimum, Maximum, Default int
					Enum                      []string
				}
			}
			Responses map[string]struct {
				Content map[string]json.RawMessage
			}
		}
	}
}

// schemas compiles schemas of openapi.json by their JSON pointers.
type schemas struct {
	t        *testing.T
	compiler *jsonschema.Compiler
	openAPIDoc
}

func readOpenAPI(t *testing.T) *schemas {
	t.Helper()
	s := &schemas{t: t, compiler: jsonschema.NewCompiler()}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPI))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.compiler.AddResource("https://api/", whole); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(openAPI, &s.openAPIDoc); err != nil {
		t.Fatal(err)
	}
	return s
}

// check says how a body differs from the schema of a path's answer.
func (s *schemas) check(path, status, kind string, body []byte) error {
	s.t.Helper()
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	schema, err := s.compiler.Compile(fmt.Sprintf("https://api/#/paths/%s/get/responses/%s/content/%s/schema", escape.Replace(path), status, escape.Replace(kind)))
	if err != nil {
		s.t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// remember gives an endpoint ten minutes of samples, the last one now.
func (s *started) remember(change func(i int, snap *stats.Snapshot)) {
	s.t.Helper()
	begin := time.Now().Add(-599 * time.Second)
	snap := s.source.Snapshot()
	for i := range 600 {
		next := snap
		next.Pools = slices.Clone(snap.Pools)
		change(i, &next)
		s.sampler.add(begin.Add(time.Duration(i)*time.Second), &next)
		snap.Pools = next.Pools
	}
	s.source.set(func() stats.Snapshot { return snap })
}

// load is ordinary traffic.
func load(i int, snap *stats.Snapshot) {
	p := &snap.Pools[0]
	p.Transactions += uint64(100 + i%7)
	p.Queries += 200
	for range 100 {
		p.WaitTime.Observe(20 * time.Millisecond)
		p.QueryTime.Observe(3 * time.Millisecond)
	}
}

// Every path of the API answers what openapi.json says, with and without a past; and openapi.json has every path.
func TestAPIIsAsDocumented(t *testing.T) {
	doc := readOpenAPI(t)
	for name, snap := range map[string]stats.Snapshot{"busy": busySnapshot(), "empty": {}} {
		for _, past := range []bool{false, true} {
			s := start(t, snap)
			if past && name == "busy" {
				s.Mark("reload", "the configuration was read again")
				s.remember(load)
			}
			for path, about := range doc.Paths {
				if about.Get.Responses["200"].Content["text/event-stream"] != nil {
					continue // TestStream
				}
				for _, query := range queriesOf(doc, path) {
					status, header, body := s.get(path + query)
					if status != http.StatusOK || header.Get("Content-Type") != "application/json" {
						t.Errorf("%s%s of a %s pooler: %d %s", path, query, name, status, header.Get("Content-Type"))
						continue
					}
					if err := doc.check(path, "200", "application/json", []byte(body)); err != nil {
						t.Errorf("%s%s of a %s pooler: %v", path, query, name, err)
					}
				}
			}
		}
	}
}

// queriesOf are queries that try each parameter of a path at its bounds.
func queriesOf(doc *schemas, path string) []string {
	all := []string{""}
	for _, p := range doc.Paths[path].Get.Parameters {
		for _, v := range p.Schema.Enum {
			all = append(all, "?"+p.Name+"="+v)
		}
		if p.Schema.Maximum > 0 {
			all = append(all, fmt.Sprintf("?%s=%d", p.Name, p.Schema.Minimum), fmt.Sprintf("?%s=%d", p.Name, p.Schema.Maximum))
		}
	}
	return all
}

// A shape that is not the documented one is noticed.
func TestAPICheckCanFail(t *testing.T) {
	doc := readOpenAPI(t)
	for _, body := range []string{`{}`, `{"events":[{"at":1,"kind":"x"}]}`, `{"events":[],"more":1}`, `{"events":[{"at":"now","kind":"x","text":"y"}]}`} {
		if doc.check("/api/v1/events", "200", "application/json", []byte(body)) == nil {
			t.Errorf("%s passes for events", body)
		}
	}
}

// openapi.json names every path that the endpoint serves under /api, and no other.
func TestAPIPaths(t *testing.T) {
	doc := readOpenAPI(t)
	s := start(t, busySnapshot())
	for path := range s.operatorPaths() {
		if _, ok := doc.Paths[path]; !ok && strings.HasPrefix(path, "/api/") {
			t.Errorf("%s is served and not in openapi.json", path)
		}
	}
	for path := range doc.Paths {
		if s.operatorPaths()[path] == nil {
			t.Errorf("%s is in openapi.json and not served", path)
		}
	}
}

func TestHistoryRefusesNonsense(t *testing.T) {
	doc := readOpenAPI(t)
	s := start(t, busySnapshot())
	for _, query := range []string{"span=9", "span=86401", "span=x", "span=99999999999999999999", "points=0", "points=1441", "points=-1", "kind=pools"} {
		status, _, body := s.get("/api/v1/history?" + query)
		if status != http.StatusBadRequest {
			t.Errorf("%s: %d", query, status)
		}
		if err := doc.check("/api/v1/history", "400", "application/json", []byte(body)); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// What happened five minutes ago is there for whoever comes now, and agrees with what /health/db said then.
func TestHistoryKnowsThePast(t *testing.T) {
	s := start(t, busySnapshot())
	s.remember(func(i int, snap *stats.Snapshot) {
		load(i, snap)
		snap.Pools[0].ServersActive = 16
		if i == 300 {
			snap.Pools[0].ServersActive, snap.Pools[0].ClientsWaiting = 23, 77 // and 2 being cleaned
		}
	})
	_, _, body := s.get("/api/v1/history?span=600&points=600&kind=listener")
	var have historyJSON
	if err := json.Unmarshal([]byte(body), &have); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]float32{"busy": 25, "waiting": 77, "transactions": 106, "queries": 200} {
		i := slices.IndexFunc(have.Series, func(one seriesJSON) bool { return one.Listener == "transactional" && one.Field == field })
		if i < 0 || len(have.Series[i].Values) < 600 || have.Series[i].Values[300] != want {
			t.Errorf("%s 300 s ago: want %v, have %v", field, want, have.Series[max(0, i)])
		}
	}
}

// What nobody knows is null, and not 0.
func TestHistoryHasGaps(t *testing.T) {
	s := start(t, busySnapshot())
	s.remember(load)
	if _, _, body := s.get("/api/v1/history?span=3600&points=60&kind=listener"); !strings.Contains(body, `"field":"busy","unit":"servers","merge":"mean","values":[null,null,`) {
		t.Errorf("the time before the first sample has values: %.300s", body)
	}
}

// The stream lasts longer than a request may take.
func TestStreamLasts(t *testing.T) {
	e := newStill("127.0.0.1:0", &fakeSource{snapshot: busySnapshot}, slog.New(slog.DiscardHandler))
	e.server.ReadTimeout, e.server.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	answer, err := (&http.Client{Transport: &http.Transport{}}).Get("http://" + e.Address() + "/api/v1/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	nextEvent(t, lines)
	snap := busySnapshot()
	e.sampler.add(time.Now(), &snap)
	for begun := time.Now(); time.Since(begun) < 4*e.server.ReadTimeout; {
		e.publish()
		nextEvent(t, lines)
	}
}

// A reader of the stream gets an overview at once, and another one with each sample.
func TestStream(t *testing.T) {
	doc := readOpenAPI(t)
	s := start(t, busySnapshot())
	answer, err := http.Get("http://" + s.Address() + "/api/v1/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("Content-Type %q", kind)
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for i := range 3 {
		if i > 0 {
			snap := busySnapshot()
			snap.Logins += uint64(i)
			s.sampler.add(time.Now().Add(time.Duration(i)*time.Second), &snap)
			s.publish()
		}
		data := nextEvent(t, lines)
		if err := doc.check("/api/v1/stream", "200", "text/event-stream", data); err != nil {
			t.Errorf("event %d: %v", i, err)
		}
		var have overview
		if err := json.Unmarshal(data, &have); err != nil || have.Process.Logins != 1100+uint64(i) {
			t.Errorf("event %d has %d logins, %v", i, have.Process.Logins, err)
		}
	}
}

// nextEvent reads the data of the next event.
func nextEvent(t *testing.T, lines *bufio.Scanner) []byte {
	t.Helper()
	named := false
	for lines.Scan() {
		named = named || lines.Text() == "event: overview"
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && named {
			return []byte(data)
		}
	}
	t.Fatalf("the stream ended: %v", lines.Err())
	return nil
}

// There are so many readers and no more; one that leaves makes room; Close ends them all.
func TestStreamsAreBounded(t *testing.T) {
	s := start(t, busySnapshot())
	join := func() *http.Response {
		answer, err := (&http.Client{Transport: &http.Transport{}}).Get("http://" + s.Address() + "/api/v1/stream")
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	var held []*http.Response
	for range streamsMax {
		held = append(held, join())
	}
	over := join()
	if over.StatusCode != http.StatusServiceUnavailable || over.Header.Get("Retry-After") == "" {
		t.Errorf("reader %d: %d", streamsMax+1, over.StatusCode)
	}
	_ = over.Body.Close()
	_ = held[0].Body.Close()
	waitFor(t, "the reader that left to be forgotten", func() bool { return s.streams.count() == streamsMax-1 })
	held[0] = join()
	if held[0].StatusCode != http.StatusOK {
		t.Errorf("after one has left: %d", held[0].StatusCode)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close with readers: %v", err)
	}
	for _, answer := range held {
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Errorf("a reader's stream ended with %v, want its end", err)
		}
		_ = answer.Body.Close()
	}
}

// A reader that does not read costs the endpoint a few messages, and then it is dropped; the others go on.
func TestStreamDropsSilentReaders(t *testing.T) {
	s := start(t, busySnapshot())
	silent := s.streams.join()
	reading := s.streams.join()
	for i := range streamQueue + 5 {
		s.streams.send([]byte{byte(i)})
		if have := <-reading; have[0] != byte(i) {
			t.Errorf("message %d: %v", i, have)
		}
	}
	if s.streams.count() != 1 {
		t.Errorf("%d readers, want the one that reads", s.streams.count())
	}
	n := 0
	for range silent { // closed
		n++
	}
	if n != streamQueue {
		t.Errorf("%d messages waited for the silent reader, want %d", n, streamQueue)
	}
}

func TestEventsAreMarked(t *testing.T) {
	s := start(t, busySnapshot())
	s.Mark("reload", "before the first sample")
	at := time.Now()
	step := func(change func(*stats.Snapshot)) {
		at = at.Add(time.Second)
		snap := s.source.Snapshot()
		snap.Pools = slices.Clone(snap.Pools)
		change(&snap)
		s.sampler.add(at, &snap)
		s.source.set(func() stats.Snapshot { return snap })
	}
	promoted := uint64(2)
	promote := func(n uint64) func(*stats.Snapshot) {
		return func(snap *stats.Snapshot) {
			promoted += n
			snap.Pools[0].Promotions = map[string]uint64{"long_transaction": promoted}
		}
	}
	step(func(*stats.Snapshot) {})
	step(func(snap *stats.Snapshot) { snap.ServerReachable, snap.ServerError = false, "connection refused" })
	step(func(*stats.Snapshot) {})
	step(func(snap *stats.Snapshot) { snap.ServerReachable = true })
	step(promote(burstPromotions - 1))
	step(promote(burstPromotions))
	step(promote(burstPromotions)) // of the same minute
	step(func(snap *stats.Snapshot) { snap.Panics++ })
	step(func(snap *stats.Snapshot) { snap.Draining = true })
	s.Mark("pause", "all pools are paused")
	var kinds []string
	s.sampler.read(func(h *history.History) {
		for _, e := range h.Events(time.Time{}) {
			kinds = append(kinds, e.Kind)
			if e.Text == "" {
				t.Errorf("%s has no text", e.Kind)
			}
		}
	})
	want := []string{"reload", "start", "unreachable", "reachable", "promotions", "panic", "drain", "pause"}
	if !slices.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
}
