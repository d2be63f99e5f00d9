package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/scram"
	"github.com/xdg-go/stringprep"
)

// Keys are derived from a password by SCRAM (RFC 5802, section 3). StoredKey and ServerKey suffice to authenticate a client. With ClientKey
// one can also log in elsewhere, wherever salt and iterations are the same.
type Keys struct {
	Salt       string
	Iterations int
	ClientKey  []byte // nil: not known
	StoredKey  []byte
	ServerKey  []byte
}

// deriveKeys runs PBKDF2.
func deriveKeys(password, salt string, iterations int) (*Keys, error) {
	salted, err := pbkdf2.Key(sha256.New, saslPrepared(password), []byte(salt), iterations, sha256.Size)
	if err != nil {
		return nil, err
	}
	k := &Keys{Salt: salt, Iterations: iterations, ClientKey: mac(salted, "Client Key"), ServerKey: mac(salted, "Server Key")}
	stored := sha256.Sum256(k.ClientKey)
	k.StoredKey = stored[:]
	return k, nil
}

// saslPrepared returns a password as PostgreSQL and libpq hash it: after SASLprep (RFC 4013), or as it is if SASLprep refuses it or leaves
// nothing of it. PostgreSQL's SASLprep (src/common/saslprep.c) differs from the standard in two points. It looks for prohibited characters
// before it normalizes the text. It reads the zero-width space, which stands in two tables, as a space.
func saslPrepared(password string) string {
	if isASCII(password) {
		return password // SASLprep changes none of them
	}
	spaced := strings.ReplaceAll(password, "\u200b", " ")
	if _, err := saslProhibits.Prepare(spaced); err != nil {
		return password
	}
	prepared, err := saslNormalizes.Prepare(spaced)
	if err != nil || prepared == "" {
		return password
	}
	return prepared
}

// The two steps of PostgreSQL's SASLprep.
var (
	saslProhibits  = stringprep.Profile{Mappings: stringprep.SASLprep.Mappings, Prohibits: stringprep.SASLprep.Prohibits, CheckBiDi: true}
	saslNormalizes = stringprep.Profile{Mappings: stringprep.SASLprep.Mappings, Normalize: true}
)

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// stored returns the keys in the form of package scram.
func (k *Keys) stored() scram.StoredCredentials {
	return scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: k.Salt, Iters: k.Iterations}, StoredKey: k.StoredKey, ServerKey: k.ServerKey}
}

// secret returns the keys in the form in which PostgreSQL stores them.
func (k *Keys) secret() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", mechanism, k.Iterations, b64([]byte(k.Salt)), b64(k.StoredKey), b64(k.ServerKey))
}

var errSecret = errors.New("the secret is not SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, as in PostgreSQL's rolpassword")

// parseKeys reads SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>.
func parseKeys(text string) (*Keys, error) {
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
	return &Keys{Salt: string(raw[0]), Iterations: n, StoredKey: raw[1], ServerKey: raw[2]}, nil
}

// clientKey returns the key that a client has used for its proof (RFC 5802: ClientProof := ClientKey XOR ClientSignature). It returns nil if
// StoredKey was not made of that key.
func (k *Keys) clientKey(authMessage string, proof []byte) []byte {
	signature := mac(k.StoredKey, authMessage)
	if len(proof) != len(signature) {
		return nil
	}
	key := make([]byte, len(signature))
	subtle.XORBytes(key, proof, signature)
	if made := sha256.Sum256(key); subtle.ConstantTimeCompare(made[:], k.StoredKey) != 1 {
		return nil
	}
	return key
}

// BuildSCRAMSecret makes the secret that PostgreSQL would store for a password, with n iterations.
func BuildSCRAMSecret(password string, n int) (string, error) {
	var salt [16]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return "", err
	}
	k, err := deriveKeys(password, string(salt[:]), n)
	if err != nil {
		return "", err
	}
	return k.secret(), nil
}
