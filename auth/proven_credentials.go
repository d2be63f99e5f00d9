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

// SCRAMClient logs in to PostgreSQL with SCRAM keys in place of a password.
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

// Verify checks the server-final-message, by which the server proves that it knows the secret too.
func (c *SCRAMClient) Verify(serverFinal []byte) error {
	text, ok := strings.CutPrefix(string(serverFinal), "v=")
	signature, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || !hmac.Equal(signature, mac(c.keys.ServerKey, c.authMessage)) {
		return errImpostor
	}
	return nil
}

// AnswerMD5 returns the password message for a server that asks for MD5. secret is md5... as it is stored.
func AnswerMD5(secret string, salt [4]byte) string {
	return "md5" + hexMD5(strings.TrimPrefix(secret, "md5")+string(salt[:]))
}
