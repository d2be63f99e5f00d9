package auth

import (
	"context"
	"sync"
	"time"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// Lookup finds the secrets of users whom the user file does not name, by asking somebody else: auth_query. Answers are kept for a while,
// also that there is no such user; logins of one user at the same time share one question. Safe for use by several goroutines.
type Lookup struct {
	ask  Ask
	keep time.Duration

	mu      sync.Mutex
	answers map[lookupKey]*answer
}

// Ask gives the secret of a user as a database has it; ok is false for users who do not exist or may not log in. It is called by the first
// login that wants to know, must end by itself, and is not told when that login ends: others may wait for the same answer.
type Ask func(database, user string) (secret Secret, ok bool, err error)

type lookupKey struct{ database, user string }

// answer is one question: under way until done is closed, immutable afterwards.
type answer struct {
	done   chan struct{}
	at     time.Time
	secret Secret
	ok     bool
	err    error
}

const (
	// answersMax bounds what is kept: names can be made up by anybody.
	answersMax = 10_000
	// doubtPause is how soon after an answer a failed login may cause another question: else a wrong password were a question each.
	doubtPause = time.Second
)

// NewLookup makes a Lookup that keeps answers for a time; 0: only for those who wait already.
func NewLookup(keep time.Duration, ask Ask) *Lookup {
	return &Lookup{ask: ask, keep: keep, answers: make(map[lookupKey]*answer)}
}

// secret is Ask through what is known. ctx bounds how long a login waits for the question of another.
func (l *Lookup) secret(ctx context.Context, key lookupKey) (Secret, bool, error) {
	l.mu.Lock()
	a := l.answers[key]
	if a != nil && !l.stale(a) {
		l.mu.Unlock()
		select {
		case <-a.done:
			return a.secret, a.ok, a.err
		case <-ctx.Done():
			return Secret{}, false, ctx.Err()
		}
	}
	a = &answer{done: make(chan struct{})}
	l.makeRoom()
	l.answers[key] = a
	l.mu.Unlock()
	defer l.finish(key, a)
	a.err = errLookupBroken // what the others hear if ask panics
	a.secret, a.ok, a.err = l.ask(key.database, key.user)
	return a.secret, a.ok, a.err
}

var errLookupBroken = &protocol.Error{Severity: "FATAL", Code: "XX000", Message: "the pooler could not look the user up"}

// stale: answered, and too long ago. The caller holds mu.
func (l *Lookup) stale(a *answer) bool {
	select {
	case <-a.done:
		return time.Since(a.at) >= l.keep
	default:
		return false
	}
}

// finish publishes an answer. Faults are not kept: the next login asks anew.
func (l *Lookup) finish(key lookupKey, a *answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.at = time.Now()
	if a.err != nil && l.answers[key] == a {
		delete(l.answers, key)
	}
	close(a.done)
}

// makeRoom drops what is stale when there are too many answers, and if that does not make much room all of them, so that not every made-up
// name costs a walk. The caller holds mu.
func (l *Lookup) makeRoom() {
	if len(l.answers) < answersMax {
		return
	}
	for key, a := range l.answers {
		if l.stale(a) {
			delete(l.answers, key)
		}
	}
	if len(l.answers) > answersMax/2 {
		clear(l.answers)
	}
}

// doubt: a login with this answer has failed. The password may have changed since, so the next login asks.
func (l *Lookup) doubt(key lookupKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.answers[key]; a != nil {
		select {
		case <-a.done:
			if time.Since(a.at) >= doubtPause {
				delete(l.answers, key)
			}
		default:
		}
	}
}
