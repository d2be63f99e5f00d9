package auth

import (
	"context"
	"sync"
	"time"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// Lookup finds the secrets of users that the user file does not name, by auth_query. A login never uses the answer to a question that was
// asked before the login began, unless the operator allows it by a time for which answers are kept. So a login that follows a change of
// the password finds the new one, before the salt of a secret is sent, which nobody can take back. Logins of one user share questions: one is
// under way, and all logins that came since wait for the next. Safe for use by several goroutines.
//
// It is not built on x/sync/singleflight. There the login that asks would leave its question behind when its time is over, and nobody would
// wait for that goroutine when the pooler closes; and a panic of the question would end the process or every login that waits for it.
type Lookup struct {
	ask  Ask
	keep time.Duration

	forms formSample // of the secrets that were found

	mu      sync.Mutex
	answers map[lookupKey]*answer
}

// Ask returns the secret of a user in a database. ok is false for a user that does not exist or may not log in. The first login of a user
// calls it. It must end by itself: it does not hear that the login has ended, because other logins may wait for the same answer.
type Ask func(database, user string) (secret Secret, ok bool, err error)

type lookupKey struct{ database, user string }

// answer is the answer to one question. The question is under way from the time it is asked until done is closed. Afterwards the answer is
// immutable.
type answer struct {
	done chan struct{}

	// guarded by Lookup.mu
	asked bool
	next  *answer // for logins that came while this question was under way

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

// NewLookup makes a Lookup that keeps each answer for the duration keep, also the answer that there is no such user. With 0 it keeps none.
func NewLookup(keep time.Duration, ask Ask) *Lookup {
	return &Lookup{ask: ask, keep: keep, answers: make(map[lookupKey]*answer)}
}

// secret returns the answer that is kept, or asks. ctx bounds how long a login waits for an answer to the question of another login.
func (l *Lookup) secret(ctx context.Context, key lookupKey) (Secret, bool, error) {
	a, before := l.question(key)
	if before != nil {
		select {
		case <-before.done:
		case <-ctx.Done():
			return Secret{}, false, ctx.Err()
		}
	}
	if l.takes(a) {
		defer l.finish(key, a)
		a.err = errLookupBroken // the other logins get it if ask panics
		a.secret, a.ok, a.err = l.ask(key.database, key.user)
		if a.ok && a.secret.Text != "" {
			l.forms.add(key.user, a.secret)
		}
		return a.secret, a.ok, a.err
	}
	select {
	case <-a.done:
		return a.secret, a.ok, a.err
	case <-ctx.Done():
		return Secret{}, false, ctx.Err()
	}
}

// question returns the answer that a login may use which begins now: one that is kept, or one whose question nobody has asked yet. before, if
// not nil, is the one that must be finished first.
func (l *Lookup) question(key lookupKey) (a, before *answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a = l.answers[key]
	switch {
	case a == nil:
		l.makeRoom()
	case a.isDone():
		if time.Since(a.at) < l.keep {
			return a, nil
		}
	case !a.asked: // the logins that waited for it have given up, or are about to ask
		return a, nil
	default:
		if a.next == nil {
			a.next = &answer{done: make(chan struct{})}
		}
		return a.next, a
	}
	a = &answer{done: make(chan struct{})}
	l.answers[key] = a
	return a, nil
}

// takes reports whether the login that calls it must ask the question: the first one does.
func (l *Lookup) takes(a *answer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := !a.asked
	a.asked = true
	return first
}

// isDone reports whether the question has been answered.
func (a *answer) isDone() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

var errLookupBroken = &protocol.Error{Severity: "FATAL", Code: "XX000", Message: "the pooler could not look the user up"}

// finish publishes an answer. The question that waited for it may be asked from now on. An error is not kept, so that the next login asks
// again. Nothing else is kept either if no login may use it.
func (l *Lookup) finish(key lookupKey, a *answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.at = time.Now()
	if l.answers[key] == a { // makeRoom may have dropped it
		switch {
		case a.next != nil:
			l.answers[key] = a.next
		case a.err != nil || l.keep <= 0:
			delete(l.answers, key)
		}
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
		if a.isDone() && time.Since(a.at) >= l.keep {
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
	if a := l.answers[key]; a != nil && a.isDone() && time.Since(a.at) >= doubtPause {
		delete(l.answers, key)
	}
}
