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

// keyCache keeps the SCRAM keys of plain secrets, so that a login costs a few HMACs and not 4096 of them. It is as large as the user
// file and is thrown away with it.
type keyCache struct {
	mu   sync.Mutex
	keys map[string]*cachedKeys
	// derivations counts PBKDF2 runs, for tests.
	derivations int
}

type cachedKeys struct {
	once  sync.Once
	creds scram.StoredCredentials
	err   error
}

func newKeyCache() *keyCache { return &keyCache{keys: make(map[string]*cachedKeys)} }

// of derives the keys of a user's plain password once.
func (k *keyCache) of(user, password string) (scram.StoredCredentials, error) {
	k.mu.Lock()
	c := k.keys[user]
	if c == nil {
		c = &cachedKeys{}
		k.keys[user] = c
	}
	k.mu.Unlock()
	c.once.Do(func() {
		k.mu.Lock()
		k.derivations++
		k.mu.Unlock()
		var salt [16]byte
		if _, c.err = rand.Read(salt[:]); c.err == nil {
			c.creds, c.err = derive(password, string(salt[:]), iterations)
		}
	})
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
// password matches.
func (e *Exchange) credentials() (scram.StoredCredentials, error) {
	switch {
	case e.known && e.secret.Kind == SecretPlain:
		return e.keys.of(e.user, e.secret.Text)
	case e.known && e.secret.Kind == SecretSCRAM:
		return parseSCRAM(e.secret.Text)
	}
	e.known = false
	never := make([]byte, sha256.Size)
	_, err := rand.Read(never)
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(e.v.mockSalt(e.user)), Iters: iterations}, StoredKey: never, ServerKey: never,
	}, err
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
		return nil, false, protocol.ErrAuthFailed(e.user)
	}
	return encode(&pgproto3.AuthenticationSASLFinal{Data: []byte(answer)}), true, nil
}

var errSecret = errors.New("not a SCRAM-SHA-256 secret")

// parseSCRAM reads SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>.
func parseSCRAM(text string) (scram.StoredCredentials, error) {
	var c scram.StoredCredentials
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == '$' || r == ':' })
	if len(parts) != 5 || parts[0] != mechanism {
		return c, errSecret
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil || n < 1 || n > iterationsMax {
		return c, errSecret
	}
	var raw [3][]byte
	for i, p := range parts[2:] {
		if raw[i], err = base64.StdEncoding.DecodeString(p); err != nil {
			return c, errSecret
		}
	}
	if len(raw[1]) != sha256.Size || len(raw[2]) != sha256.Size {
		return c, errSecret
	}
	return scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(raw[0]), Iters: n}, StoredKey: raw[1], ServerKey: raw[2]}, nil
}

// matchesSCRAM checks a plain password against a SCRAM secret.
func (s Secret) matchesSCRAM(password string) bool {
	want, err := parseSCRAM(s.Text)
	if err != nil {
		return false
	}
	got, err := derive(password, want.Salt, want.Iters)
	return err == nil && equal(string(got.StoredKey), string(want.StoredKey))
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
