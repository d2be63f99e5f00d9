package auth

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// Credentials let the pooler log in to PostgreSQL. The zero value holds none.
type Credentials struct {
	Password string
	MD5      string // md5..., for a server that asks for MD5
	Keys     *Keys  // with ClientKey, for a server that asks for SCRAM-SHA-256
}

// Format implements fmt.Formatter for every verb, so that no credentials are written to a log.
func (Credentials) Format(f fmt.State, _ rune) { fmt.Fprint(f, "********") }

// provenCredentials keeps the credentials that clients have proved by their logins. The pooler logs in to PostgreSQL with them for these
// clients, so that no password need be stored.
type provenCredentials struct {
	mu    sync.Mutex
	known map[lookupKey]proof
}

// proof holds the credentials that the last login of a user has proved.
type proof struct {
	credentials Credentials
	at          time.Time
}

func (l *provenCredentials) remember(key lookupKey, c Credentials) {
	l.mu.Lock()
	if l.known == nil {
		l.known = make(map[lookupKey]proof)
	}
	l.known[key] = proof{c, time.Now()}
	l.mu.Unlock()
}

func (l *provenCredentials) get(key lookupKey) Credentials {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[key].credentials
}

// Forget drops proven credentials that are older than age, unless their database and user are in use. They cannot be kept, because any user
// can name any database. The credentials of users in the user file stay: there are no more of them than the file has lines.
func (v *Verifier) Forget(age time.Duration, used func(database, user string) bool) {
	v.proven.mu.Lock()
	defer v.proven.mu.Unlock()
	maps.DeleteFunc(v.proven.known, func(key lookupKey, p proof) bool {
		return key.database != "" && time.Since(p.at) > age && !used(key.database, key.user)
	})
}

// remember keeps the credentials that a login has proved.
func (e *Exchange) remember(c Credentials) {
	key := lookupKey{e.database, e.user}
	if e.lookup == nil {
		key.database = "" // the user file holds for every database
	}
	e.v.proven.remember(key, c)
}

// ServerLogin returns the credentials with which the pooler can log in as serverUser, for the clients of a database and user. They are the
// secret in the user file, or else the credentials that a client of that user has proved last.
func (v *Verifier) ServerLogin(database, user, serverUser string) Credentials {
	v.mu.RLock()
	secret, filed := v.policy.Users.Secret(serverUser)
	v.mu.RUnlock()
	switch {
	case filed && secret.Kind == SecretPlain:
		return Credentials{Password: secret.Text}
	case filed && secret.Kind == SecretMD5 && user != serverUser:
		return Credentials{MD5: secret.Text}
	case filed:
		c := v.proven.get(lookupKey{"", serverUser})
		if c.Password == "" && secret.Kind == SecretMD5 {
			c.MD5 = secret.Text
		}
		return c
	case user == serverUser:
		return v.proven.get(lookupKey{database, user})
	}
	return Credentials{}
}
