package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// SCRAMClient logs in to PostgreSQL by SCRAM-SHA-256 or SCRAM-SHA-256-PLUS. It takes keys, which no library takes in the place of a password,
// or a password, which it prepares as libpq does: pgconn prepares it by another standard (RFC 8265), which leaves a ligature as it is.
type SCRAMClient struct {
	// Mechanism is the one that the client has chosen.
	Mechanism string

	keys        *Keys  // nil: derived from the password when the salt is known
	password    string // not prepared
	nonce       string
	header      string // the GS2 header (RFC 5802, section 7)
	binding     []byte // channel binding data, with SCRAM-SHA-256-PLUS
	authMessage string
}

// NewSCRAMClient begins an exchange with PostgreSQL, which offers the mechanisms. c holds keys or a password. endpoint identifies PostgreSQL's
// certificate (see Endpoint); it is nil without TLS. first is the client-first-message.
func NewSCRAMClient(c Credentials, offered []string, endpoint []byte) (client *SCRAMClient, first []byte, err error) {
	client = &SCRAMClient{Mechanism: mechanism, keys: c.Keys, password: c.Password, header: "n,,"}
	switch {
	case endpoint != nil && slices.Contains(offered, mechanismPlus):
		client.Mechanism, client.header, client.binding = mechanismPlus, "p=tls-server-end-point,,", endpoint
	case !slices.Contains(offered, mechanism):
		return nil, nil, fmt.Errorf("PostgreSQL offers no %s, but %s", mechanism, strings.Join(offered, ", "))
	case endpoint != nil:
		client.header = "y,," // so that PostgreSQL notices if somebody has removed the other mechanism from its offer
	}
	var nonce [18]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	client.nonce = base64.StdEncoding.EncodeToString(nonce[:])
	return client, []byte(client.header + "n=,r=" + client.nonce), nil
}

// dialIterationsMax bounds the iterations that PostgreSQL may ask for, so that no impostor makes the pooler compute for ever.
const dialIterationsMax = 10_000_000

var (
	errServerMessage = errors.New("SCRAM: PostgreSQL sent a malformed message")
	errOtherSecret   = errors.New("PostgreSQL's SCRAM secret of this user is another than the pooler's: copy rolpassword from pg_authid into the user file, or store the password itself")
	errImpostor      = errors.New("SCRAM: the server does not know the secret of this user; is it the right PostgreSQL?")
)

// Final answers the server-first-message. With a password it runs PBKDF2.
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
	if err != nil || err2 != nil || n < 1 || n > dialIterationsMax {
		return nil, errServerMessage
	}
	if c.keys == nil {
		if c.keys, err = deriveKeys(c.password, string(salt), n); err != nil {
			return nil, err
		}
	} else if string(salt) != c.keys.Salt || n != c.keys.Iterations {
		return nil, errOtherSecret
	}
	final := "c=" + base64.StdEncoding.EncodeToString(slices.Concat([]byte(c.header), c.binding)) + ",r=" + nonce
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

// PreparesAlike reports whether pgconn hashes the password as libpq does. It does if every character is ASCII.
func PreparesAlike(password string) bool { return isASCII(password) }

// AnswerMD5 returns the password message for a server that asks for MD5. secret is md5... as it is stored.
func AnswerMD5(secret string, salt [4]byte) string {
	return "md5" + hexMD5(strings.TrimPrefix(secret, "md5")+string(salt[:]))
}
