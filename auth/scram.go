package auth

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// The SASL mechanisms. The second one binds the login to the TLS connection, so that nobody between client and pooler can pass it on.
const (
	mechanism     = "SCRAM-SHA-256"
	mechanismPlus = "SCRAM-SHA-256-PLUS"
)

// Endpoint returns the hash of a certificate for channel binding (tls-server-end-point, RFC 5929). It returns nil if RFC 5929 defines none for
// the certificate's signature. Channel binding is not offered then.
func Endpoint(certificate *x509.Certificate) []byte {
	binding, err := scram.NewTLSServerEndpointBinding(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}})
	if err != nil {
		return nil
	}
	return binding.Data
}

// mechanisms returns the mechanisms that are offered. The one without binding is offered even where the other is required: pgx gives up if it
// is not offered, and other clients then hear an error that explains what is missing.
func (e *Exchange) mechanisms() []string {
	if e.endpoint != nil {
		return []string{mechanismPlus, mechanism}
	}
	return []string{mechanism}
}

var errUnbound = protocol.ErrNotAuthorized("connection requires channel binding (SCRAM-SHA-256-PLUS), over TLS and by a client that can do it")

// converse begins a conversation that checks the client's channel binding. It must match ours. A client without one must have seen correctly
// whether we offer it.
func (e *Exchange) converse(server *scram.Server) *scram.ServerConversation {
	binding := scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: e.endpoint}
	switch {
	case e.method == SCRAMPlus:
		return server.NewConversationWithChannelBindingRequired(binding)
	case e.endpoint != nil:
		return server.NewConversationWithChannelBinding(binding)
	}
	return server.NewConversation()
}

// iterations is PostgreSQL's scram_iterations. iterationsMax bounds the iterations of a stored secret.
const (
	iterations    = 4096
	iterationsMax = 1_000_000
)

// keyCache keeps the SCRAM keys of plain passwords, so that a login costs a few HMACs and not 4096. Users that do not exist have an entry
// too. Without it the first login of a user would take longer than a login of a user that does not exist.
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

// keysMax bounds the cache, because a client may name any user.
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

// expected returns the keys against which the exchange is checked. For a user that does not exist, or whose secret is no SCRAM secret or plain
// password, it returns keys that no password matches, in the same time.
func (e *Exchange) expected() (*Keys, error) {
	if e.known && e.secret.Kind == SecretSCRAM {
		return e.secret.keys, nil
	}
	if !e.known && e.disguise.kind == SecretSCRAM {
		return e.disguisedKeys(), nil
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
	if !slices.Contains(e.mechanisms(), m.AuthMechanism) {
		return nil, false, protocol.ErrProtocol("client selected an invalid SASL authentication mechanism")
	}
	if e.method == SCRAMPlus && m.AuthMechanism != mechanismPlus {
		return nil, false, errUnbound
	}
	if bytes.HasPrefix(m.Data, []byte("p=")) != (m.AuthMechanism == mechanismPlus) {
		return nil, false, protocol.ErrProtocol("malformed SCRAM message: the client's channel binding does not fit its mechanism")
	}
	var err error
	if e.talk.keys, err = e.expected(); err != nil {
		return nil, false, err
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return e.talk.keys.stored(), nil })
	if err != nil {
		return nil, false, err
	}
	e.talk.server = e.converse(server)
	answer, err := e.talk.server.Step(string(m.Data))
	if err != nil && bytes.HasPrefix(m.Data, []byte("y,")) {
		return nil, false, protocol.ErrNotAuthorized("SCRAM channel binding negotiation error: the client has not seen that it is offered; " +
			"somebody may sit in between")
	} else if err != nil {
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
		e.rememberKey(string(body))
	}
	return encode(&pgproto3.AuthenticationSASLFinal{Data: []byte(answer)}), true, nil
}

// rememberKey takes the client's key out of its proof, for logins to PostgreSQL in the client's name.
func (e *Exchange) rememberKey(final string) {
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
