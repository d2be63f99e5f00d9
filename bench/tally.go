package main

import (
	"fmt"
	"strconv"
	"sync"
	"time"
)

// tally counts the observations of the scenario's clients and watchers. Its methods may be called from any goroutine; the fields are read when
// all of them have ended.
type tally struct {
	mu sync.Mutex // guards everything below

	streamQueries, streamTransactions int
	latencies                         []time.Duration // of streamQueries
	strayed                           int             // answers that belong to another client or transaction
	jobs, workerStatements            int
	leaked                            int           // statements that ran in another tenant than their own
	workerWaitMax                     time.Duration // from a worker's connect to its first answer
	serversMax                        int
	healthPolls                       int
	health                            map[string]healthSeen // by listener
	errors                            map[string]int        // by the kind of client that met them: stream, worker, observer, health
	firstErrors                       []string
}

func newTally() *tally {
	return &tally{health: map[string]healthSeen{}, errors: map[string]int{}}
}

// fail counts an error and keeps the text of the first few of each kind of client: one kind's flood must not hide the others'.
func (t *tally) fail(who string, err error) {
	const kept = 3
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errors[who]++
	if t.errors[who] <= kept {
		t.firstErrors = append(t.firstErrors, fmt.Sprintf("%s: %v", who, err))
	}
}

// streamQuery counts a query: own is whether the answer was this client's, clean whether no tenant showed.
func (t *tally) streamQuery(latency time.Duration, own, clean bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streamQueries++
	t.latencies = append(t.latencies, latency)
	if !own {
		t.strayed++
	} else if !clean {
		t.leaked++
	}
}

// streamTransaction counts a transaction: whole is whether all of it was one in PostgreSQL.
func (t *tally) streamTransaction(whole bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streamTransactions++
	if !whole {
		t.strayed++
	}
}

func (t *tally) workerStatement(ownTenant bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.workerStatements++
	if !ownTenant {
		t.leaked++
	}
}

func (t *tally) workerWait(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.workerWaitMax = max(t.workerWaitMax, d)
}

func (t *tally) job() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.jobs++
}

func (t *tally) servers(count string) {
	number, err := strconv.Atoi(count)
	if err != nil {
		t.fail("observer", err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serversMax = max(t.serversMax, number)
}
