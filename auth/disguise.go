package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
)

// disguise is the form of a secret. A login of a user that does not exist goes on as if the user had a secret of that form, so that neither
// the kind of the request nor the number of iterations tells which names exist.
type disguise struct {
	kind       SecretKind
	iterations int
}

func disguiseAs(s Secret) disguise {
	d := disguise{kind: s.Kind, iterations: iterations}
	if s.keys != nil {
		d.iterations = s.keys.Iterations
	}
	return d
}

// disguiseOf returns the disguise for a user that does not exist. It is the form of another user's secret, which a keyed hash of the name
// chooses: the same one at each try, and each form as often as among the users that exist.
func (e *Exchange) disguiseOf(p *Policy) disguise {
	var forms []disguise
	if p.Users != nil {
		forms = p.Users.forms
	}
	if e.lookup != nil {
		forms = slices.Concat(forms, e.lookup.forms.all())
	}
	if len(forms) == 0 {
		return disguise{kind: SecretSCRAM, iterations: iterations}
	}
	return forms[e.v.hash("form", e.user)%uint64(len(forms))]
}

// hash is a hash that nobody can compute without the user file.
func (v *Verifier) hash(purpose, user string) uint64 {
	v.mu.RLock()
	h := hmac.New(sha256.New, v.seed[:])
	v.mu.RUnlock()
	h.Write([]byte(purpose + "\x00" + user))
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// disguisedKeys returns keys that no password matches, at the cost of a secret in the form of SCRAM.
func (e *Exchange) disguisedKeys() *Keys {
	salt := e.v.salt(e.user)
	return &Keys{Salt: string(salt), Iterations: e.disguise.iterations, StoredKey: mac(salt, "no stored key"), ServerKey: mac(salt, "no server key")}
}

// formSample keeps the forms of some secrets that lookups have found. Its size is fixed, so that the form for one name rarely changes.
type formSample struct {
	mu    sync.Mutex
	seen  bool
	forms [64]disguise
}

// add notes the secret of a user that exists. The first one fills the sample.
func (f *formSample) add(user string, s Secret) {
	sum := sha256.Sum256([]byte(user))
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.seen {
		f.seen = true
		for i := range f.forms {
			f.forms[i] = disguiseAs(s)
		}
	}
	f.forms[int(sum[0])%len(f.forms)] = disguiseAs(s)
}

// all returns the sample. Before the first secret it is in the form that PostgreSQL gives to passwords by default.
func (f *formSample) all() []disguise {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.seen {
		return []disguise{{kind: SecretSCRAM, iterations: iterations}}
	}
	return slices.Clone(f.forms[:])
}
