package main

import (
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"
)

// target is where clients log in, and as whom. Make it by newTarget; it may be shared by goroutines.
type target struct {
	host                     string
	port                     int
	user, password, database string
	tls                      bool

	scram *scram.Client // keeps the derived keys, so that a login costs the client HMACs and not PBKDF2
}

func newTarget(host string, port int, user, password, database string) (*target, error) {
	// PostgreSQL takes the name from the startup message and ignores the one of SCRAM (manual 55.3.1).
	exchange, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		return nil, fmt.Errorf("prepare the password of %s: %w", user, err)
	}
	exchange = exchange.WithMinIterations(1) // the secrets of a storm have one, and who answers was started by this program
	return &target{host: host, port: port, user: user, password: password, database: database, scram: exchange}, nil
}

// sslMode is libpq's word for how to connect.
func (t *target) sslMode() string {
	if t.tls {
		return "require"
	}
	return "disable"
}

// environment is how libpq's programs and others that heed its variables get to the target.
func (t *target) environment() []string {
	return append(os.Environ(), "PGHOST="+t.host, "PGPORT="+strconv.Itoa(t.port), "PGUSER="+t.user, "PGPASSWORD="+t.password,
		"PGDATABASE="+t.database, "PGSSLMODE="+t.sslMode(), "PGGSSENCMODE=disable")
}

func (t *target) address() string { return net.JoinHostPort(t.host, strconv.Itoa(t.port)) }

// client is a logged-in client with as little of its own as possible: thousands of them share this machine with the pooler
// that is being measured, and pgconn keeps 16 KiB of buffers for each.
type client struct {
	socket net.Conn
	target *target
	due    time.Duration // how long any one step may take
}

// login opens a client and returns when PostgreSQL's ReadyForQuery has come. The caller closes it.
func login(ctx context.Context, t *target, due time.Duration) (*client, error) {
	dialer := net.Dialer{Timeout: due}
	socket, err := dialer.DialContext(ctx, "tcp", t.address())
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", t.address(), err)
	}
	c := &client{socket: socket, target: t, due: due}
	err = c.secure()
	if err == nil {
		err = c.startup()
	}
	if err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("log in to %s as %s: %w", t.address(), t.user, err)
	}
	return c, nil
}

// secure turns to TLS if the target wants that. Who answers is not proved: it was started by this program.
func (c *client) secure() error {
	if err := c.socket.SetDeadline(time.Now().Add(c.due)); err != nil || !c.target.tls {
		return err
	}
	if err := c.send(&pgproto3.SSLRequest{}); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(c.socket, answer[:]); err != nil {
		return err
	}
	if answer[0] != 'S' {
		return fmt.Errorf("%s speaks no TLS", c.target.address())
	}
	secure := tls.Client(c.socket, &tls.Config{InsecureSkipVerify: true})
	c.socket = secure
	return secure.Handshake()
}

func (c *client) startup() error {
	message := &pgproto3.StartupMessage{
		ProtocolVersion: pgproto3.ProtocolVersion30,
		Parameters: map[string]string{
			"user": c.target.user, "database": c.target.database, "application_name": "hybridbouncer-bench",
		},
	}
	if err := c.send(message); err != nil {
		return err
	}
	conversation := c.target.scram.NewConversation()
	for {
		kind, body, err := c.receive()
		if err != nil {
			return err
		}
		switch kind {
		case 'R':
			if err := c.authenticate(conversation, body); err != nil {
				return err
			}
		case 'E':
			return asError(body)
		case 'Z':
			return nil
		}
	}
}

// authenticate answers one AuthenticationXxx message (manual 55.7).
func (c *client) authenticate(conversation *scram.ClientConversation, body []byte) error {
	if len(body) < 4 {
		return fmt.Errorf("authentication message of %d bytes", len(body))
	}
	rest := body[4:]
	switch method := binary.BigEndian.Uint32(body); method {
	case pgproto3.AuthTypeOk:
		return nil
	case pgproto3.AuthTypeCleartextPassword:
		return c.send(&pgproto3.PasswordMessage{Password: c.target.password})
	case pgproto3.AuthTypeMD5Password:
		inner := md5.Sum([]byte(c.target.password + c.target.user))
		outer := md5.Sum(append([]byte(hex.EncodeToString(inner[:])), rest...))
		return c.send(&pgproto3.PasswordMessage{Password: "md5" + hex.EncodeToString(outer[:])})
	case pgproto3.AuthTypeSASL:
		first, err := conversation.Step("")
		if err != nil {
			return err
		}
		return c.send(&pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte(first)})
	case pgproto3.AuthTypeSASLContinue:
		final, err := conversation.Step(string(rest))
		if err != nil {
			return err
		}
		return c.send(&pgproto3.SASLResponse{Data: []byte(final)})
	case pgproto3.AuthTypeSASLFinal:
		_, err := conversation.Step(string(rest))
		return err
	default:
		return fmt.Errorf("authentication method %d is asked for", method)
	}
}

// query runs one simple query and returns the first column of its first row, "" when there is none.
func (c *client) query(sql string) (string, error) {
	if err := c.socket.SetDeadline(time.Now().Add(c.due)); err != nil {
		return "", err
	}
	if err := c.send(&pgproto3.Query{String: sql}); err != nil {
		return "", err
	}
	var value string
	var failure error
	for rows := 0; ; {
		kind, body, err := c.receive()
		if err != nil {
			return "", err
		}
		switch kind {
		case 'D':
			if rows++; rows == 1 {
				value, err = firstColumn(body)
				if err != nil {
					return "", err
				}
			}
		case 'E':
			failure = asError(body)
		case 'Z':
			return value, failure
		}
	}
}

// close says goodbye as libpq does; the pooler then has nothing to complain of.
func (c *client) close() {
	_ = c.send(&pgproto3.Terminate{}) // the socket goes either way
	_ = c.socket.Close()
}

func (c *client) send(message pgproto3.FrontendMessage) error {
	encoded, err := message.Encode(nil)
	if err != nil {
		return err
	}
	_, err = c.socket.Write(encoded)
	return err
}

// receive reads exactly one message: nothing is kept between calls, so an idle client owns no buffer.
func (c *client) receive() (kind byte, body []byte, err error) {
	const bodyMax = 1 << 20 // far above anything these queries answer
	var header [5]byte
	if _, err := io.ReadFull(c.socket, header[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(header[1:])
	if size < 4 || size > bodyMax {
		return 0, nil, fmt.Errorf("message %q announces %d bytes", header[0], size)
	}
	body = make([]byte, size-4)
	_, err = io.ReadFull(c.socket, body)
	return header[0], body, err
}

func firstColumn(body []byte) (string, error) {
	var row pgproto3.DataRow
	if err := row.Decode(body); err != nil {
		return "", err
	}
	if len(row.Values) == 0 {
		return "", nil
	}
	return string(row.Values[0]), nil
}

// asError turns an ErrorResponse's body into an error with its SQLSTATE.
func asError(body []byte) error {
	var response pgproto3.ErrorResponse
	if err := response.Decode(body); err != nil {
		return fmt.Errorf("unreadable ErrorResponse: %w", err)
	}
	return fmt.Errorf("%s %s: %s", response.Severity, response.Code, response.Message)
}
