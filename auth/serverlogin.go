package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Credentials are what the pooler can log in to PostgreSQL with. Empty: nothing.
type Credentials struct {
	Password string
	MD5      string // md5..., for a server that asks for MD5
	Keys     *Keys  // with ClientKey, for a server that asks for SCRAM-SHA-256
}

// Format implements fmt.Formatter for every verb: credentials end up in a log sooner or later.
func (Credentials) Format(f fmt.State, _ rune) { fmt.Fprint(f, "********") }

// learnt is what clients have proved by their logins: with it the pooler logs in for them, and no password need be stored anywhere.
type learnt struct {
	mu    sync.Mutex
	known map[lookupKey]proof
}

// proof is what a login has shown last.
type proof struct {
	credentials Credentials
	at          time.Time
}

func (l *learnt) remember(key lookupKey, c Credentials) {
	l.mu.Lock()
	if l.known == nil {
		l.known = make(map[lookupKey]proof)
	}
	l.known[key] = proof{c, time.Now()}
	l.mu.Unlock()
}

func (l *learnt) get(key lookupKey) Credentials {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[key].credentials
}

// Forget drops what was learnt longer than an age ago for databases and users that are not in use any more: names of databases can be made
// up by any user. The user file's users are as many as it has lines.
func (v *Verifier) Forget(age time.Duration, used func(database, user string) bool) {
	v.learnt.mu.Lock()
	defer v.learnt.mu.Unlock()
	maps.DeleteFunc(v.learnt.known, func(key lookupKey, p proof) bool {
		return key.database != "" && time.Since(p.at) > age && !used(key.database, key.user)
	})
}

// remember keeps what a login has proved.
func (e *Exchange) remember(c Credentials) {
	key := lookupKey{e.database, e.user}
	if e.lookup == nil {
		key.database = "" // the user file is for all of them
	}
	e.v.learnt.remember(key, c)
}

// ServerLogin is what a server for the clients of a database and user can be logged in with, as serverUser: the user file's secret, or what
// a client of that user has proved last.
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
		c := v.learnt.get(lookupKey{"", serverUser})
		if c.Password == "" && secret.Kind == SecretMD5 {
			c.MD5 = secret.Text
		}
		return c
	case user == serverUser:
		return v.learnt.get(lookupKey{database, user})
	}
	return Credentials{}
}

// SCRAMClient logs in with keys where a password would be usual.
type SCRAMClient struct {
	keys        *Keys
	nonce       string
	authMessage string
}

// NewSCRAMClient begins an exchange. first is the client-first-message.
func NewSCRAMClient(k *Keys) (c *SCRAMClient, first []byte) {
	var nonce [18]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	c = &SCRAMClient{keys: k, nonce: base64.StdEncoding.EncodeToString(nonce[:])}
	return c, []byte("n,,n=,r=" + c.nonce)
}

var (
	errServerMessage = errors.New("SCRAM: PostgreSQL sent a malformed message")
	errOtherSecret   = errors.New("PostgreSQL's SCRAM secret of this user is another than the pooler's: copy rolpassword from pg_authid into the user file, or store the password itself")
	errImpostor      = errors.New("SCRAM: the server does not know the secret of this user; is it the right PostgreSQL?")
)

// Final answers the server-first-message.
func (c *SCRAMClient) Final(serverFirst []byte) ([]byte, error) {
	parts := strings.Split(string(serverFirst), ",")
	if len(parts) < 3 {
		return nil, errServerMessage
	}
	nonce, ok := strings.CutPrefix(parts[0], "r=")
	salt64, ok2 := strings.CutPrefix(parts[1], "s=")
	number, ok3 := strings.CutPrefix(parts[2], "i=")
	if !ok || !ok2 || !ok3 || !strings.HasPrefix(nonce, c.nonce) || len(nonce) == len(c.nonce) {
		return nil, errServerMessage
	}
	salt, err := base64.StdEncoding.DecodeString(salt64)
	n, err2 := strconv.Atoi(number)
	if err != nil || err2 != nil {
		return nil, errServerMessage
	}
	if string(salt) != c.keys.Salt || n != c.keys.Iterations {
		return nil, errOtherSecret
	}
	const header = "biws" // base64 of n,,
	final := "c=" + header + ",r=" + nonce
	c.authMessage = fmt.Sprintf("n=,r=%s,%s,%s", c.nonce, serverFirst, final)
	proof := mac(c.keys.StoredKey, c.authMessage)
	for i := range proof {
		proof[i] ^= c.keys.ClientKey[i]
	}
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// Verify judges the server-final-message: the other side has to prove that it knows the secret, too.
func (c *SCRAMClient) Verify(serverFinal []byte) error {
	text, ok := strings.CutPrefix(string(serverFinal), "v=")
	signature, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || !hmac.Equal(signature, mac(c.keys.ServerKey, c.authMessage)) {
		return errImpostor
	}
	return nil
}

// AnswerMD5 is the answer to a server that asks for MD5.
func AnswerMD5(secret string, salt [4]byte) string {
	return "md5" + hexMD5(strings.TrimPrefix(secret, "md5")+string(salt[:]))
}
