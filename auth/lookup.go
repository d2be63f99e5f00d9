package auth

import (
	"context"
	"sync"
	"time"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// Lookup finds the secrets of users that the user file does not name, by auth_query. It keeps each answer for a while, also the answer that
// there is no such user. Logins of one user at the same time share one question. Safe for use by several goroutines.
//
// It is not built on x/sync/singleflight. There the login that asks would leave its question behind when its time is over, and nobody would
// wait for that goroutine when the pooler closes; and a panic of the question would end the process or every login that waits for it.
type Lookup struct {
	ask  Ask
	keep time.Duration

	mu      sync.Mutex
	answers map[lookupKey]*answer
}

// Ask returns the secret of a user in a database. ok is false for a user that does not exist or may not log in. The first login of a user
// calls it. It must end by itself: it does not hear that the login has ended, because other logins may wait for the same answer.
type Ask func(database, user string) (secret Secret, ok bool, err error)

type lookupKey struct{ database, user string }

// answer is the answer to one question. The question is under way until done is closed. Afterwards the answer is immutable.
type answer struct {
	done   chan struct{}
	at     time.Time
	secret Secret
	ok     bool
	err    error
}

const (
	// answersMax bounds the answers that are kept, because a client may name any user and database.
	answersMax = 10_000
	// doubtPause is how soon after an answer a failed login may cause another question. Without it each wrong password would be a question.
	doubtPause = time.Second
)

// NewLookup makes a Lookup that keeps each answer for the duration keep. With 0 only the logins that wait already share an answer.
func NewLookup(keep time.Duration, ask Ask) *Lookup {
	return &Lookup{ask: ask, keep: keep, answers: make(map[lookupKey]*answer)}
}

// secret returns the answer that is kept, or asks. ctx bounds how long a login waits for the question of another login.
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
	a.err = errLookupBroken // the other logins get it if ask panics
	a.secret, a.ok, a.err = l.ask(key.database, key.user)
	return a.secret, a.ok, a.err
}

var errLookupBroken = &protocol.Error{Severity: "FATAL", Code: "XX000", Message: "the pooler could not look the user up"}

// stale reports whether an answer is too old. The caller holds mu.
func (l *Lookup) stale(a *answer) bool {
	select {
	case <-a.done:
		return time.Since(a.at) >= l.keep
	default:
		return false
	}
}

// finish publishes an answer. An error is not kept, so that the next login asks again.
func (l *Lookup) finish(key lookupKey, a *answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.at = time.Now()
	if a.err != nil && l.answers[key] == a {
		delete(l.answers, key)
	}
	close(a.done)
}

// makeRoom drops stale answers when there are too many. If that leaves more than half of them, it drops all, so that it does not walk the
// answers again at each new name. The caller holds mu.
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

// doubt is called when a login with this answer has failed. The password may have changed since, so the next login asks.
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
