package auth

import (
	"encoding/base64"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

const mechanism = "SCRAM-SHA-256"

// iterations is PostgreSQL's scram_iterations; iterationsMax bounds what a stored secret may ask of us.
const (
	iterations    = 4096
	iterationsMax = 1_000_000
)

// keyCache keeps the SCRAM keys that belong to plain passwords, so that a login costs a few HMACs and not 4096 of them. Users who do not
// exist have an entry too: else the first login of each user would take longer than that of somebody made up.
type keyCache struct {
	mu   sync.Mutex
	keys map[keyOwner]*cachedKeys
	// derivations counts PBKDF2 runs, for tests.
	derivations int
}

type keyOwner struct{ user, password string }

type cachedKeys struct {
	once sync.Once
	keys *Keys
	err  error
}

// keysMax bounds the cache: names can be made up by anybody.
const keysMax = 10_000

func newKeyCache() *keyCache { return &keyCache{keys: make(map[keyOwner]*cachedKeys)} }

// of derives the keys of a user's plain password once.
func (k *keyCache) of(owner keyOwner, salt []byte) (*Keys, error) {
	k.mu.Lock()
	c := k.keys[owner]
	if c == nil {
		if len(k.keys) >= keysMax {
			clear(k.keys)
		}
		c = &cachedKeys{}
		k.keys[owner] = c
		k.derivations++
	}
	k.mu.Unlock()
	c.once.Do(func() { c.keys, c.err = deriveKeys(owner.password, string(salt), iterations) })
	return c.keys, c.err
}

// expected are the keys that the exchange is checked against. A user who does not exist, or whose secret cannot do SCRAM, gets some that
// no password matches, in the same time.
func (e *Exchange) expected() (*Keys, error) {
	if e.known && e.secret.Kind == SecretSCRAM {
		return e.secret.keys, nil
	}
	owner := keyOwner{e.user, e.secret.Text}
	if !e.known || e.secret.Kind != SecretPlain {
		e.known, owner.password = false, ""
	}
	return e.keys.of(owner, e.v.salt(e.user))
}

// saslInitial takes the client-first message.
func (e *Exchange) saslInitial(body []byte) ([]byte, bool, error) {
	var m pgproto3.SASLInitialResponse
	if err := m.Decode(body); err != nil {
		return nil, false, protocol.ErrProtocol("invalid SASL message")
	}
	if m.AuthMechanism != mechanism {
		return nil, false, protocol.ErrProtocol("client selected an invalid SASL authentication mechanism")
	}
	var err error
	if e.talk.keys, err = e.expected(); err != nil {
		return nil, false, err
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return e.talk.keys.stored(), nil })
	if err != nil {
		return nil, false, err
	}
	e.talk.server = server.NewConversation()
	answer, err := e.talk.server.Step(string(m.Data))
	if err != nil {
		return nil, false, protocol.ErrProtocol("malformed SCRAM message")
	}
	_, rest, _ := strings.Cut(string(m.Data), ",") // the GS2 header, two fields
	_, bare, _ := strings.Cut(rest, ",")
	e.talk.authMessage = bare + "," + answer
	e.stage = awaitSASLFinal
	return encode(&pgproto3.AuthenticationSASLContinue{Data: []byte(answer)}), false, nil
}

// conversation is a SCRAM exchange.
type conversation struct {
	server      *scram.ServerConversation
	keys        *Keys
	authMessage string // without the client's last message
}

// saslFinal takes the client-final message.
func (e *Exchange) saslFinal(body []byte) ([]byte, bool, error) {
	e.stage = over
	answer, err := e.talk.server.Step(string(body))
	if err != nil || !e.talk.server.Valid() || !e.known {
		return nil, false, e.refuse()
	}
	if e.secret.Kind == SecretPlain {
		e.remember(Credentials{Password: e.secret.Text})
	} else {
		e.learn(string(body))
	}
	return encode(&pgproto3.AuthenticationSASLFinal{Data: []byte(answer)}), true, nil
}

// learn takes the client's key out of its proof, for logins to PostgreSQL in its name.
func (e *Exchange) learn(final string) {
	i := strings.LastIndex(final, ",p=")
	if i < 0 {
		return
	}
	proof, err := base64.StdEncoding.DecodeString(final[i+len(",p="):])
	if err != nil {
		return
	}
	keys := *e.talk.keys
	if keys.ClientKey = keys.clientKey(e.talk.authMessage+","+final[:i], proof); keys.ClientKey != nil {
		e.remember(Credentials{Keys: &keys})
	}
}

// matchesSCRAM checks a plain password against a SCRAM secret.
func (s Secret) matchesSCRAM(password string) bool {
	got, err := deriveKeys(password, s.keys.Salt, s.keys.Iterations)
	return err == nil && equal(string(got.StoredKey), string(s.keys.StoredKey))
}
