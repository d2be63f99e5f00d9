package relay

import "github.com/hybridbouncer/hybridbouncer/protocol"

// Verdict is what to do with the first N bytes of what was read.
type Verdict uint8

// The verdicts. Those of FromClient and of FromServer share one list so that a transcript reads the same on both sides.
const (
	// More: what is there cannot be judged yet. Keep it and come again with more behind it. N is 0.
	More Verdict = iota
	// Forward: pass the bytes on, unchanged.
	Forward
	// Drop: nobody is to see the bytes.
	Drop
	// Rewrite: in place of the bytes send Desk.ToServer to the server and Desk.ToClient to the client; both, or N, may be empty.
	Rewrite

	// Checkout: take a server, then come again with the same bytes. N is 0. FromClient only.
	Checkout
	// Hold: what comes next rests on replies that are on their way. Read no more of the client, and come again with the same bytes
	// when the server has said something. N is 0. FromClient only.
	Hold
	// Promote: what comes next, a whole Query or Parse, makes something that only a connection can hold; Kind says what. The server has to
	// become the client's own, or the statement has to be refused (Refuse, Reject); then come again with the same bytes. N is 0.
	// FromClient only.
	Promote
	// Share: what comes next begins to listen, or may commit that. The shared connection has to hear of it first (Sharing.Wanted), then
	// come again with the same bytes. N is 0. FromClient only.
	Share
	// Answer: drop the bytes and answer CommandComplete with Tag, and ReadyForQuery, ourselves. FromClient only.
	Answer
	// AnswerReady: drop the bytes and answer ReadyForQuery ourselves, with Client.TxStatus. FromClient only.
	AnswerReady
	// EndRefusal: as AnswerReady, at the end of a refused batch. If the client has sent more behind it, it was pipelining and may
	// rest on what was refused: it must be closed instead. FromClient only.
	EndRefusal
	// Leave: the client said goodbye. FromClient only.
	Leave
	// Violate: the client broke the protocol; Err is what to tell it before closing it. FromClient only.
	Violate

	// Report: the bytes are one whole ParameterStatus: fold it into what is known of the server, then pass it on, unless Injected
	// says that the proxy itself caused it. FromServer only.
	Report
	// Refused: the server answered a statement of the proxy's own with an error; the bytes are that whole ErrorResponse.
	// FromServer only.
	Refused
	// Told: the bytes are one whole DataRow that the proxy has asked for. FromServer only.
	Told
	// Overheard: the bytes are one whole notification of the server's own, for a client for which no other connection listens yet.
	// FromServer only.
	Overheard
	// Ready: the bytes are the whole ReadyForQuery of a client that listens and is between transactions. It is to be sent when the client
	// has heard what comes before it. FromServer only.
	Ready
	// Distrust: the server said something that cannot be. Close it; Err is what to tell its client. FromServer only.
	Distrust
)

// String is the word used in transcripts.
func (v Verdict) String() string {
	return [...]string{
		"more", "forward", "drop", "rewrite", "checkout", "hold", "promote", "share", "answer", "answer-ready", "end-refusal", "leave", "violate", "report", "refused",
		"told", "overheard", "ready", "distrust",
	}[v]
}

// Step is a verdict over the first N bytes of what was read. Neighbours with the same fate come as one step, so that they leave in
// one send.
type Step struct {
	Verdict  Verdict
	Injected bool      // Report: caused by the proxy itself
	Tag      Tag       // Answer
	Kind     StateKind // Promote: what the statement makes
	N        int
	// Finished counts the ReadyForQuery to the client among the bytes.
	Finished int
	Err      *protocol.Error // Violate, Distrust
}
