package pgtest

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"
)

// Authenticate answers what the server asks for after Startup (nothing, a password, MD5 or SCRAM-SHA-256) and reads up to the first
// ReadyForQuery. A refusal fails the test; see TryAuthenticate.
func (w *Wire) Authenticate(user, password string) {
	w.t.Helper()
	if refusal := w.TryAuthenticate(user, password); refusal != nil {
		w.t.Fatalf("login of %q: %s %s: %s (%s)", user, refusal.Severity, refusal.Code, refusal.Message, refusal.Hint)
	}
}

// TryAuthenticate is Authenticate that returns the server's refusal; nil after ReadyForQuery.
func (w *Wire) TryAuthenticate(user, password string) *pgproto3.ErrorResponse {
	w.t.Helper()
	var conversation *scram.ClientConversation
	for {
		switch m := w.Receive().(type) {
		case *pgproto3.ReadyForQuery:
			return nil
		case *pgproto3.ErrorResponse:
			return m
		case *pgproto3.AuthenticationCleartextPassword:
			w.Send(&pgproto3.PasswordMessage{Password: password})
		case *pgproto3.AuthenticationMD5Password:
			w.Send(&pgproto3.PasswordMessage{Password: md5Answer(user, password, m.Salt)})
		case *pgproto3.AuthenticationSASL:
			conversation = w.beginSCRAM(password)
		case *pgproto3.AuthenticationSASLContinue:
			answer, err := conversation.Step(string(m.Data))
			if err != nil {
				w.t.Fatalf("SCRAM: %v", err)
			}
			w.Send(&pgproto3.SASLResponse{Data: []byte(answer)})
		case *pgproto3.AuthenticationSASLFinal:
			if _, err := conversation.Step(string(m.Data)); err != nil {
				w.t.Fatalf("SCRAM: the server does not know the password either: %v", err)
			}
		}
	}
}

// beginSCRAM sends the first message; PostgreSQL ignores the user name in it and takes the startup message's.
func (w *Wire) beginSCRAM(password string) *scram.ClientConversation {
	w.t.Helper()
	client, err := scram.SHA256.NewClientUnprepped("", password, "")
	if err != nil {
		w.t.Fatalf("SCRAM: %v", err)
	}
	conversation := client.NewConversation()
	first, err := conversation.Step("")
	if err != nil {
		w.t.Fatalf("SCRAM: %v", err)
	}
	w.Send(&pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte(first)})
	return conversation
}

// md5Answer is "md5" + md5(md5(password + user) + salt), in hex: manual, "Message Flow", AuthenticationMD5Password.
func md5Answer(user, password string, salt [4]byte) string {
	inner := md5.Sum([]byte(password + user))
	outer := md5.Sum(append([]byte(hex.EncodeToString(inner[:])), salt[:]...))
	return fmt.Sprintf("md5%x", outer)
}

// Cancel sends a CancelRequest with a client's key over a socket of its own, and waits until the other side has closed it, which is
// all the answer there is.
func Cancel(t TB, address string, key pgproto3.BackendKeyData) {
	t.Helper()
	w := Dial(t, address)
	w.Send(&pgproto3.CancelRequest{ProcessID: key.ProcessID, SecretKey: key.SecretKey})
	w.ExpectClosed()
	w.Close()
}
