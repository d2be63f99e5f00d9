package dial

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// keyLogin logs in to PostgreSQL with credentials that pgconn cannot use: SCRAM keys, an md5 secret, or a password that SASLprep changes. It
// sits between pgconn and the socket (or the TLS on it), answers PostgreSQL's request itself, and shows pgconn a server that asked for nothing.
// So all else stays pgconn's: hosts, TLS, time-outs, parameters. It reads message by exact message, and nothing behind the login's end.
type keyLogin struct {
	net.Conn
	user        string
	credentials auth.Credentials // with a password, pgconn answers every request but that for SCRAM
	pending     []byte           // a message that pgconn is reading
	over        bool             // the login is decided: all passes
}

// withCredentials makes pgconn's configuration log in with credentials, if there is no password that pgconn can use.
func withCredentials(cfg *pgconn.Config, c auth.Credentials) {
	if cfg.Password != "" {
		if auth.PreparesAlike(cfg.Password) {
			return
		}
		c = auth.Credentials{Password: cfg.Password}
	}
	cfg.AfterNetConnect = func(_ context.Context, cfg *pgconn.Config, nc net.Conn) (net.Conn, error) {
		return &keyLogin{Conn: nc, user: cfg.User, credentials: c}, nil
	}
}

// withoutLogin is what a keyLogin, if nc is one, was put around.
func withoutLogin(nc net.Conn) net.Conn {
	if k, is := nc.(*keyLogin); is {
		return k.Conn
	}
	return nc
}

// Read is pgconn reading.
func (k *keyLogin) Read(b []byte) (int, error) {
	for len(k.pending) == 0 {
		if k.over {
			return k.Conn.Read(b)
		}
		if err := k.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, k.pending)
	k.pending = k.pending[n:]
	return n, nil
}

// Kinds of AuthenticationRequest (manual 54.7).
const (
	authOK   = 0
	authMD5  = 5
	authSASL = 10
)

// next reads a message, and either answers it or leaves it to pgconn.
func (k *keyLogin) next() error {
	kind, body, err := protocol.ReadMessage(k.Conn, auth.BodyMax)
	if err != nil {
		return err
	}
	if kind != protocol.ServerAuthentication || len(body) < 4 {
		k.show(kind, body)
		return nil
	}
	password := k.credentials.Password != ""
	switch request := binary.BigEndian.Uint32(body); {
	case request == authOK:
		k.over = true
		k.show(kind, body)
	case request == authSASL && (password || k.credentials.Keys != nil):
		return k.scram(body)
	case password:
		k.show(kind, body)
	case request == authMD5 && k.credentials.MD5 != "":
		return k.md5(body)
	case request == authMD5:
		return k.lacks("MD5", "an md5 secret")
	case request == authSASL:
		return k.lacks("SCRAM-SHA-256", "a SCRAM secret, and a client that has logged in with it (SCRAM pass-through)")
	default:
		return k.lacks("another kind of proof", "nothing that it takes but a password")
	}
	return nil
}

// show leaves a message to pgconn.
func (k *keyLogin) show(kind byte, body []byte) {
	k.over = k.over || kind == protocol.ServerErrorResponse
	k.pending = append(k.pending[:0], kind)
	k.pending = binary.BigEndian.AppendUint32(k.pending, uint32(len(body)+4))
	k.pending = append(k.pending, body...)
}

// lacks says what could be done about a login that cannot succeed.
func (k *keyLogin) lacks(asked, wanted string) error {
	have := "nothing"
	switch c := k.credentials; {
	case c.Keys != nil:
		have = "a SCRAM secret"
	case c.MD5 != "":
		have = "an md5 secret"
	}
	return fmt.Errorf("PostgreSQL asks for %s of user %q, and the pooler has %s: it needs the password (password in [server], a plain one in "+
		"user_file, passfile), or %s", asked, k.user, have, wanted)
}

func (k *keyLogin) md5(body []byte) error {
	var m pgproto3.AuthenticationMD5Password
	if err := m.Decode(body); err != nil {
		return err
	}
	return k.send(&pgproto3.PasswordMessage{Password: auth.AnswerMD5(k.credentials.MD5, m.Salt)})
}

// scram is the whole exchange, up to but not including AuthenticationOk.
func (k *keyLogin) scram(body []byte) error {
	var offer pgproto3.AuthenticationSASL
	if err := offer.Decode(body); err != nil {
		return err
	}
	client, first, err := auth.NewSCRAMClient(k.credentials, offer.AuthMechanisms, k.endpoint())
	if err != nil {
		return err
	}
	if err := k.send(&pgproto3.SASLInitialResponse{AuthMechanism: client.Mechanism, Data: first}); err != nil {
		return err
	}
	var more pgproto3.AuthenticationSASLContinue
	if refused, err := k.receive(&more); refused || err != nil {
		return err
	}
	final, err := client.Final(more.Data)
	if err != nil {
		return err
	}
	if err := k.send(&pgproto3.SASLResponse{Data: final}); err != nil {
		return err
	}
	var end pgproto3.AuthenticationSASLFinal
	if refused, err := k.receive(&end); refused || err != nil {
		return err
	}
	return client.Verify(end.Data)
}

// endpoint identifies PostgreSQL's certificate for channel binding. It returns nil without TLS.
func (k *keyLogin) endpoint() []byte {
	secure, ok := k.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	certificates := secure.ConnectionState().PeerCertificates
	if len(certificates) == 0 {
		return nil
	}
	return auth.Endpoint(certificates[0])
}

func (k *keyLogin) send(m pgproto3.FrontendMessage) error {
	b, err := m.Encode(nil)
	if err == nil {
		_, err = k.Write(b)
	}
	return err
}

// receive reads the next message of the exchange. refused: it is PostgreSQL's refusal, which pgconn is to read.
func (k *keyLogin) receive(m pgproto3.BackendMessage) (refused bool, err error) {
	kind, body, err := protocol.ReadMessage(k.Conn, auth.BodyMax)
	switch {
	case err != nil:
		return false, err
	case kind == protocol.ServerErrorResponse:
		k.show(kind, body)
		return true, nil
	case kind != protocol.ServerAuthentication:
		return false, errors.New("PostgreSQL broke the protocol of the login")
	}
	return false, m.Decode(body)
}
