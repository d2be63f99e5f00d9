// Package auth owns the question whether a client may log in: the user file, and the exchange of each authentication method. It must not
// know sockets, pools, or what happens after the login.
//
// A Verifier is shared by all logins and may be used from any goroutine; an Exchange belongs to one login. Messages go in and out as
// bytes, so that every exchange can be tested without a socket.
//
// Read auth.go (the exchange), then userlist.go (secrets) and scram.go.
package auth

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // PostgreSQL's md5 authentication is what it is
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// Method is how clients prove who they are.
type Method uint8

// The methods, by their words in the configuration.
const (
	Trust Method = iota
	Password
	MD5
	SCRAM
)

// ParseMethod reads the word of the configuration file.
func ParseMethod(word string) (Method, error) {
	switch word {
	case "trust":
		return Trust, nil
	case "password", "plain":
		return Password, nil
	case "md5":
		return MD5, nil
	case "scram-sha-256":
		return SCRAM, nil
	}
	return SCRAM, fmt.Errorf("unknown authentication type %q: use trust, password, md5 or scram-sha-256", word)
}

// Verifier decides over logins.
type Verifier struct {
	mu     sync.RWMutex
	method Method
	users  *UserFile
	keys   *keyCache
	mock   [32]byte // makes the salt of users that do not exist
}

// NewVerifier makes a verifier. users may be nil with Trust only.
func NewVerifier(m Method, users *UserFile) (*Verifier, error) {
	v := &Verifier{keys: newKeyCache()}
	if _, err := rand.Read(v.mock[:]); err != nil {
		return nil, err
	}
	if m != Trust && users == nil {
		return nil, fmt.Errorf("[auth] type needs a user_file: who may log in, with which secret")
	}
	v.Replace(m, users)
	return v, nil
}

// Replace puts another method and user file in force for logins that begin from now on.
func (v *Verifier) Replace(m Method, users *UserFile) {
	v.mu.Lock()
	v.method, v.users, v.keys = m, users, newKeyCache()
	v.mu.Unlock()
}

// Exchange is one login's conversation.
type Exchange struct {
	v      *Verifier
	user   string
	secret Secret
	known  bool
	method Method
	salt   [4]byte
	keys   *keyCache
	talk   *scram.ServerConversation
	stage  stage
}

type stage uint8

const (
	beginning stage = iota
	awaitPassword
	awaitSASLInitial
	awaitSASLFinal
	over
)

// Begin starts the login of a user, who need not exist.
func (v *Verifier) Begin(user string) *Exchange {
	v.mu.RLock()
	defer v.mu.RUnlock()
	e := &Exchange{v: v, user: user, method: v.method, keys: v.keys}
	if v.users != nil {
		e.secret, e.known = v.users.Secret(user)
	}
	if e.method == MD5 && e.known && e.secret.Kind == SecretSCRAM {
		e.method = SCRAM // as PostgreSQL does: an md5 line serves both kinds of secret
	}
	return e
}

// Start returns the first message to the client; done: it is in already (AuthenticationOk is the caller's).
func (e *Exchange) Start() (request []byte, done bool) {
	var m pgproto3.BackendMessage
	switch e.method {
	case Trust:
		e.stage = over
		return nil, true
	case Password:
		m, e.stage = &pgproto3.AuthenticationCleartextPassword{}, awaitPassword
	case MD5:
		_, _ = rand.Read(e.salt[:]) // never fails (crypto/rand)
		m, e.stage = &pgproto3.AuthenticationMD5Password{Salt: e.salt}, awaitPassword
	case SCRAM:
		m, e.stage = &pgproto3.AuthenticationSASL{AuthMechanisms: []string{mechanism}}, awaitSASLInitial
	}
	return encode(m), false
}

// Respond takes the client's next message. The error is an *protocol.Error: 28P01 for a wrong password and an unknown user alike.
func (e *Exchange) Respond(messageType byte, body []byte) (reply []byte, done bool, err error) {
	if messageType != protocol.ClientPassword || e.stage == beginning || e.stage == over {
		return nil, false, protocol.ErrProtocol(fmt.Sprintf("expected password response, got message type %d", messageType))
	}
	switch e.stage {
	case awaitPassword:
		return e.password(body)
	case awaitSASLInitial:
		return e.saslInitial(body)
	default:
		return e.saslFinal(body)
	}
}

// password judges a PasswordMessage.
func (e *Exchange) password(body []byte) ([]byte, bool, error) {
	e.stage = over
	var m pgproto3.PasswordMessage
	if err := m.Decode(body); err != nil {
		return nil, false, protocol.ErrProtocol("invalid password message")
	}
	ok := false
	switch {
	case e.method == MD5 && e.secret.Kind != SecretSCRAM:
		ok = equal(m.Password, "md5"+hexMD5(e.secret.md5(e.user)+string(e.salt[:])))
	case e.secret.Kind == SecretPlain:
		ok = equal(m.Password, e.secret.Text)
	case e.secret.Kind == SecretMD5:
		ok = equal("md5"+hexMD5(m.Password+e.user), e.secret.Text)
	case e.secret.Kind == SecretSCRAM:
		ok = e.secret.matchesSCRAM(m.Password)
	}
	if !ok || !e.known {
		return nil, false, protocol.ErrAuthFailed(e.user)
	}
	return nil, true, nil
}

// equal compares in constant time, whatever the lengths.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func hexMD5(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}

// mockSalt is the salt of a user that does not exist: the same at each try, different for each name.
func (v *Verifier) mockSalt(user string) []byte {
	h := hmac.New(sha256.New, v.mock[:])
	h.Write([]byte(user))
	return h.Sum(nil)[:16]
}

func encode(m pgproto3.BackendMessage) []byte {
	b, _ := m.Encode(nil) // fails for messages over 1 GiB only
	return b
}

// PlainPassword is a user's password from the user file, if it is stored as such: what servers are logged in to with.
func (v *Verifier) PlainPassword(user string) (string, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.users == nil {
		return "", false
	}
	return v.users.PlainPassword(user)
}
