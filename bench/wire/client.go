// Package wire owns the benchmarks' own clients: logins, simple queries and large messages, with as little memory and CPU as a client can
// do with. Thousands of them share the machine with the pooler that is measured. It must not know which server or pooler answers, nor
// the measurements.
//
// A Target and a Crowd may be used by several goroutines, a Client by one. Read this file first.
package wire

import (
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"
)

// Client is a logged-in client with as little of its own as possible: thousands of them share this machine with the pooler
// that is being measured, and pgconn keeps 16 KiB of buffers for each.
type Client struct {
	socket net.Conn
	target *Target
	due    time.Duration // how long any one step may take
}

// Login opens a client and returns when PostgreSQL's ReadyForQuery has come. The caller closes it.
func Login(ctx context.Context, t *Target, due time.Duration) (*Client, error) {
	dialer := net.Dialer{Timeout: due}
	socket, err := dialer.DialContext(ctx, "tcp", t.Address())
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", t.Address(), err)
	}
	c := &Client{socket: socket, target: t, due: due}
	err = c.secure()
	if err == nil {
		err = c.startup()
	}
	if err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("log in to %s as %s: %w", t.Address(), t.User, err)
	}
	return c, nil
}

// secure turns to TLS if the target wants that. Who answers is not proved: it was started by this program.
func (c *Client) secure() error {
	if err := c.socket.SetDeadline(time.Now().Add(c.due)); err != nil || !c.target.TLS {
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
		return fmt.Errorf("%s speaks no TLS", c.target.Address())
	}
	secure := tls.Client(c.socket, &tls.Config{InsecureSkipVerify: true})
	c.socket = secure
	return secure.Handshake()
}

func (c *Client) startup() error {
	message := &pgproto3.StartupMessage{
		ProtocolVersion: pgproto3.ProtocolVersion30,
		Parameters: map[string]string{
			"user": c.target.User, "database": c.target.Database, "application_name": "hybridbouncer-bench",
		},
	}
	if err := c.send(message); err != nil {
		return err
	}
	conversation := c.target.scram.NewConversation()
	for {
		kind, body, err := c.Receive()
		if err != nil {
			return err
		}
		switch kind {
		case 'R':
			if err := c.authenticate(conversation, body); err != nil {
				return err
			}
		case 'E':
			return AsError(body)
		case 'Z':
			return nil
		}
	}
}

// authenticate answers one AuthenticationXxx message (manual 55.7).
func (c *Client) authenticate(conversation *scram.ClientConversation, body []byte) error {
	if len(body) < 4 {
		return fmt.Errorf("authentication message of %d bytes", len(body))
	}
	rest := body[4:]
	switch method := binary.BigEndian.Uint32(body); method {
	case pgproto3.AuthTypeOk:
		return nil
	case pgproto3.AuthTypeCleartextPassword:
		return c.send(&pgproto3.PasswordMessage{Password: c.target.Password})
	case pgproto3.AuthTypeMD5Password:
		inner := md5.Sum([]byte(c.target.Password + c.target.User))
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

// Query runs one simple query and returns the first column of its first row, "" when there is none.
func (c *Client) Query(sql string) (string, error) {
	if err := c.socket.SetDeadline(time.Now().Add(c.due)); err != nil {
		return "", err
	}
	if err := c.send(&pgproto3.Query{String: sql}); err != nil {
		return "", err
	}
	var value string
	var failure error
	for rows := 0; ; {
		kind, body, err := c.Receive()
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
			failure = AsError(body)
		case 'Z':
			return value, failure
		}
	}
}

// Close says goodbye as libpq does; the pooler then has nothing to complain of.
func (c *Client) Close() {
	_ = c.send(&pgproto3.Terminate{}) // the socket goes either way
	_ = c.socket.Close()
}

func (c *Client) send(message pgproto3.FrontendMessage) error {
	encoded, err := message.Encode(nil)
	if err != nil {
		return err
	}
	_, err = c.socket.Write(encoded)
	return err
}

// Receive reads exactly one message: nothing is kept between calls, so an idle client owns no buffer.
func (c *Client) Receive() (kind byte, body []byte, err error) {
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

// AsError turns an ErrorResponse's body into an error with its SQLSTATE.
func AsError(body []byte) error {
	var response pgproto3.ErrorResponse
	if err := response.Decode(body); err != nil {
		return fmt.Errorf("unreadable ErrorResponse: %w", err)
	}
	return fmt.Errorf("%s %s: %s", response.Severity, response.Code, response.Message)
}
