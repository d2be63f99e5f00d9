package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
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
	once  sync.Once
	creds scram.StoredCredentials
	err   error
}

// keysMax bounds the cache: names can be made up by anybody.
const keysMax = 10_000

func newKeyCache() *keyCache { return &keyCache{keys: make(map[keyOwner]*cachedKeys)} }

// of derives the keys of a user's plain password once.
func (k *keyCache) of(owner keyOwner, salt []byte) (scram.StoredCredentials, error) {
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
	c.once.Do(func() { c.creds, c.err = derive(owner.password, string(salt), iterations) })
	return c.creds, c.err
}

// derive runs PBKDF2.
func derive(password, salt string, n int) (scram.StoredCredentials, error) {
	client, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		// Not valid for SASLprep: PostgreSQL takes the bytes as they are.
		if client, err = scram.SHA256.NewClientUnprepped("", password, ""); err != nil {
			return scram.StoredCredentials{}, err
		}
	}
	return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: salt, Iters: n})
}

// credentials are what the exchange is checked against. A user who does not exist, or whose secret cannot do SCRAM, gets some that no
// password matches, in the same time.
func (e *Exchange) credentials() (scram.StoredCredentials, error) {
	if e.known && e.secret.Kind == SecretSCRAM {
		return *e.secret.scram, nil
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
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return e.credentials() })
	if err != nil {
		return nil, false, err
	}
	e.talk = server.NewConversation()
	answer, err := e.talk.Step(string(m.Data))
	if err != nil {
		return nil, false, protocol.ErrProtocol("malformed SCRAM message")
	}
	e.stage = awaitSASLFinal
	return encode(&pgproto3.AuthenticationSASLContinue{Data: []byte(answer)}), false, nil
}

// saslFinal takes the client-final message.
func (e *Exchange) saslFinal(body []byte) ([]byte, bool, error) {
	e.stage = over
	answer, err := e.talk.Step(string(body))
	if err != nil || !e.talk.Valid() || !e.known {
		return nil, false, e.refuse()
	}
	return encode(&pgproto3.AuthenticationSASLFinal{Data: []byte(answer)}), true, nil
}

var errSecret = errors.New("the secret is not SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, as in PostgreSQL's rolpassword")

// parseSCRAM reads SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>.
func parseSCRAM(text string) (*scram.StoredCredentials, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 3 || parts[0] != mechanism {
		return nil, errSecret
	}
	number, salt, ok := strings.Cut(parts[1], ":")
	stored, server, ok2 := strings.Cut(parts[2], ":")
	n, err := strconv.Atoi(number)
	if !ok || !ok2 || err != nil || n < 1 || n > iterationsMax {
		return nil, errSecret
	}
	var raw [3][]byte
	for i, p := range []string{salt, stored, server} {
		if raw[i], err = base64.StdEncoding.DecodeString(p); err != nil {
			return nil, errSecret
		}
	}
	if len(raw[0]) == 0 || len(raw[1]) != sha256.Size || len(raw[2]) != sha256.Size {
		return nil, errSecret
	}
	return &scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(raw[0]), Iters: n}, StoredKey: raw[1], ServerKey: raw[2]}, nil
}

// matchesSCRAM checks a plain password against a SCRAM secret.
func (s Secret) matchesSCRAM(password string) bool {
	got, err := derive(password, s.scram.Salt, s.scram.Iters)
	return err == nil && equal(string(got.StoredKey), string(s.scram.StoredKey))
}

// BuildSCRAMSecret makes the secret that PostgreSQL would store.
func BuildSCRAMSecret(password string, n int) (string, error) {
	var salt [16]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return "", err
	}
	c, err := derive(password, string(salt[:]), n)
	if err != nil {
		return "", err
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", mechanism, n, b64(salt[:]), b64(c.StoredKey), b64(c.ServerKey)), nil
}
