// Package auth owns the decision whether a client may log in: the user file, the HBA file, and the exchange of each authentication method.
// It must not know sockets, pools, or anything that happens after the login.
//
// All logins share a Verifier, which any goroutine may use. An Exchange belongs to one login. Its messages go in and out as bytes, so that
// every exchange can be tested without a socket.
//
// Read auth.go (the exchange), then user_file.go (secrets), scram.go and hba.go.
package auth

import (
	"context"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // PostgreSQL's md5 authentication uses it
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// Method is a way for a client to prove its identity.
type Method uint8

// The methods, by their words in the configuration.
const (
	Trust Method = iota
	Password
	MD5
	SCRAM
	Cert       // "cert": the name of the client's certificate
	ByHBA      // "hba": the method that the HBA file names for the login
	SCRAMPlus  // "scram-sha-256-plus": SCRAM, bound to the TLS connection
	SocketUser // "peer", in an HBA file: the operating system names the user at the other end of a unix socket
	Reject     // "reject", in an HBA file
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
	case "scram-sha-256-plus":
		return SCRAMPlus, nil
	case "cert":
		return Cert, nil
	case "hba":
		return ByHBA, nil
	}
	return SCRAM, fmt.Errorf("unknown authentication type %q: use trust, password, md5, scram-sha-256, scram-sha-256-plus, cert or hba", word)
}

// secret reports whether the method needs a stored secret.
func (m Method) secret() bool { return m == Password || m == MD5 || m == SCRAM || m == SCRAMPlus }

// Policy decides which logins succeed. It is replaced as a whole and never changed.
type Policy struct {
	Method Method
	Users  *UserFile // the secrets of users; nil: none
	Lookup *Lookup   // finds the secrets of users that Users lacks; nil: does not
	HBA    *HBA      // with ByHBA
}

// check returns an error if the policy lacks a file or a source of secrets.
func (p *Policy) check() error {
	asks := p.Method.secret()
	if p.Method == ByHBA {
		if p.HBA == nil {
			return errors.New(`[auth] type = "hba" needs auth_hba_file`)
		}
		asks = p.HBA.asksSecrets()
	}
	if asks && p.Users == nil && p.Lookup == nil {
		return errors.New("[auth] needs a user_file, or an auth_user to ask PostgreSQL: who may log in, with which secret")
	}
	return nil
}

// Login describes a client that wants to log in.
type Login struct {
	User, Database string
	// Physical means a replication connection that belongs to no database. Database has no meaning then.
	Physical bool
	Origin   Origin
}

// Verifier authenticates clients according to its Policy.
type Verifier struct {
	proven provenCredentials

	mu     sync.RWMutex
	policy Policy
	keys   *keyCache
	seed   [32]byte // makes the salts of users without a SCRAM secret, known or not
}

// NewVerifier makes a verifier.
func NewVerifier(p Policy) (*Verifier, error) {
	v := &Verifier{}
	return v, v.Replace(p)
}

// Replace puts another policy in force for logins that begin from now on. After an error the old policy stays in force.
func (v *Verifier) Replace(p Policy) error {
	if err := p.check(); err != nil {
		return err
	}
	v.mu.Lock()
	v.policy, v.keys, v.seed = p, newKeyCache(), p.Users.seed()
	v.mu.Unlock()
	return nil
}

// ReplaceUsers puts another user file in force for logins that begin from now on. After an error the old file stays in force.
func (v *Verifier) ReplaceUsers(u *UserFile) error {
	v.mu.RLock()
	next := v.policy
	v.mu.RUnlock()
	next.Users = u
	return v.Replace(next)
}

// Exchange is the conversation of one login.
type Exchange struct {
	v        *Verifier
	user     string
	database string
	secret   Secret
	known    bool
	disguise disguise // of a user that is not known
	endpoint []byte   // see Origin
	hashed   bool     // with the method password: other users' secrets take time to compare
	lookup   *Lookup  // where the secret comes from, if not from the user file
	method   Method
	salt     [4]byte
	keys     *keyCache
	talk     conversation
	stage    stage
}

type stage uint8

const (
	beginning stage = iota
	awaitPassword
	awaitSASLInitial
	awaitSASLFinal
	over
)

// Begin starts a login. The user need not exist. An error means that the client may not even try. The client may hear the error if it is a
// *protocol.Error. Begin may ask PostgreSQL for the user's secret, for as long as ctx allows.
func (v *Verifier) Begin(ctx context.Context, l Login) (*Exchange, error) {
	v.mu.RLock()
	p, keys := v.policy, v.keys
	v.mu.RUnlock()
	e := &Exchange{v: v, user: l.User, method: p.Method, keys: keys, database: l.Database, endpoint: l.Origin.Endpoint}
	if err := e.choose(&p, &l); err != nil {
		return nil, err
	}
	if e.method == SCRAMPlus && e.endpoint == nil {
		return nil, errUnbound
	}
	if !e.method.secret() {
		return e, nil
	}
	if err := e.find(ctx, &p); err != nil {
		return nil, err
	}
	if !e.known {
		e.disguise = e.disguiseOf(&p)
	}
	if e.method == MD5 && (e.secret.Kind == SecretSCRAM || e.disguise.kind == SecretSCRAM) {
		e.method = SCRAM // as PostgreSQL does: an md5 line serves both kinds of secret
	}
	return e, nil
}

// find looks for the user's secret, first in the file, then by asking. An empty secret counts as none.
func (e *Exchange) find(ctx context.Context, p *Policy) (err error) {
	e.secret, e.known = p.Users.Secret(e.user)
	if !e.known && p.Lookup != nil {
		e.lookup = p.Lookup
		if e.secret, e.known, err = p.Lookup.secret(ctx, lookupKey{e.database, e.user}); err != nil {
			return err
		}
	}
	if e.known = e.known && e.secret.Text != ""; !e.known {
		e.secret = Secret{}
	}
	e.hashed = e.method == Password && (p.Lookup != nil || p.Users.hashed)
	return nil
}

// refuse ends a login. The client does not hear the reason.
func (e *Exchange) refuse() error {
	if e.lookup != nil {
		e.lookup.doubt(lookupKey{e.database, e.user})
	}
	return protocol.ErrAuthFailed(e.user)
}

// choose finds the method for a login, and checks everything that needs no message of the client.
func (e *Exchange) choose(p *Policy, l *Login) error {
	rule, maps := &hbaRule{method: p.Method}, identMaps(nil)
	switch p.Method {
	case ByHBA:
		var err error
		if rule, err = p.HBA.match(l); err != nil {
			return err
		}
		maps = p.HBA.maps
	case Cert:
		rule.cert = certNamed
	case Trust, Password, MD5, SCRAM, SCRAMPlus, SocketUser, Reject:
		return nil
	}
	if err := rule.certified(l, maps); err != nil {
		return err
	}
	e.method = rule.method
	if rule.method == SocketUser {
		return rule.checkSocketUser(l, maps)
	}
	return nil
}

// Start returns the first message to the client. done means that the client is authenticated already. The caller sends AuthenticationOk.
func (e *Exchange) Start() (request []byte, done bool) {
	var m pgproto3.BackendMessage
	switch e.method {
	case Trust, Cert, SocketUser:
		e.stage = over
		return nil, true
	case Password:
		m, e.stage = &pgproto3.AuthenticationCleartextPassword{}, awaitPassword
	case MD5:
		_, _ = rand.Read(e.salt[:]) // never fails (crypto/rand)
		m, e.stage = &pgproto3.AuthenticationMD5Password{Salt: e.salt}, awaitPassword
	case SCRAM, SCRAMPlus:
		m, e.stage = &pgproto3.AuthenticationSASL{AuthMechanisms: e.mechanisms()}, awaitSASLInitial
	case ByHBA, Reject:
		panic("bug: no method was chosen")
	}
	return encode(m), false
}

// BodyMax bounds a message of an authentication exchange, in bytes, and saslBodyMax a message of SASL (PostgreSQL: PG_MAX_AUTH_TOKEN_LENGTH,
// PG_MAX_SASL_MESSAGE_LENGTH). A password is so long because it may be an access token.
const (
	BodyMax     = 65535
	saslBodyMax = 1024
)

// BodyMax bounds the client's next message, in bytes.
func (e *Exchange) BodyMax() int {
	if e.stage == awaitPassword {
		return BodyMax
	}
	return saslBodyMax
}

// Respond takes the client's next message. An error is a *protocol.Error: 28P01 for a wrong password and for an unknown user alike.
func (e *Exchange) Respond(messageType byte, body []byte) (reply []byte, done bool, err error) {
	if messageType != protocol.ClientPassword {
		return nil, false, protocol.ErrProtocol(fmt.Sprintf("expected password response, got message type %d", messageType))
	}
	switch e.stage {
	case awaitPassword:
		return e.password(body)
	case awaitSASLInitial:
		return e.saslInitial(body)
	case awaitSASLFinal:
		return e.saslFinal(body)
	case beginning, over:
	}
	return nil, false, protocol.ErrProtocol("unexpected password response")
}

// password checks a PasswordMessage.
func (e *Exchange) password(body []byte) ([]byte, bool, error) {
	e.stage = over
	var m pgproto3.PasswordMessage
	if err := m.Decode(body); err != nil {
		return nil, false, protocol.ErrProtocol("invalid password message")
	}
	ok := false
	if e.hashed && e.secret.Kind != SecretSCRAM {
		_, _ = deriveKeys(m.Password, string(e.v.salt(e.user)), iterations) // takes as long as for a user with a SCRAM secret
	}
	switch {
	case m.Password == "": // PostgreSQL takes no empty password either
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
		return nil, false, e.refuse()
	}
	switch {
	case e.method == Password:
		e.remember(Credentials{Password: m.Password})
	case e.secret.Kind == SecretMD5:
		e.remember(Credentials{MD5: e.secret.Text})
	default:
		e.remember(Credentials{Password: e.secret.Text})
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

// salt returns the salt for a user whose password is not stored as a SCRAM secret. It is the same at each try and differs between names,
// whether the user exists or not.
func (v *Verifier) salt(user string) []byte {
	v.mu.RLock()
	h := hmac.New(sha256.New, v.seed[:])
	v.mu.RUnlock()
	h.Write([]byte(user))
	return h.Sum(nil)[:16]
}

func encode(m pgproto3.BackendMessage) []byte {
	b, _ := m.Encode(nil) // fails for messages over 1 GiB only
	return b
}
