package stats

// ClientClose is the reason for which a client was closed. It is a label of the metrics and a key of the log.
type ClientClose uint8

// The reasons.
const (
	ClientLeft                 ClientClose = iota // it sent Terminate
	ClientGone                                    // its socket ended without a goodbye
	ClientProtocolViolation                       // it broke the protocol
	ClientPipelinedBehindError                    // it pipelined behind a batch that was refused
	ClientQueryWaitTimeout                        // it waited too long for a server, with more pipelined behind
	ClientServerLogin                             // PostgreSQL refused the pool's login
	ClientServerLost                              // its server ended while linked
	ClientSettingRefused                          // PostgreSQL refused one of its startup parameters
	ClientCanceled                                // it was canceled while it waited, with more pipelined behind
	ClientIdleTimeout                             // client_idle_timeout
	ClientIdleTransaction                         // idle_transaction_timeout
	ClientTransactionTimeout                      // transaction_timeout
	ClientQueryTimeout                            // query_timeout
	ClientStatementMode                           // it began a transaction in statement mode
	ClientStateRefused                            // promotion = "error", and the refusal could not be told in its place
	ClientNotificationsUnread                     // it listens and does not read its notifications
	ClientListenImpossible                        // no server can listen for it any more
	ClientShutdown                                // the pooler is going down
	clientCloses                                  // their number
)

var clientCloseLabels = [clientCloses]string{
	ClientLeft: "left", ClientGone: "gone", ClientProtocolViolation: "protocol_violation",
	ClientPipelinedBehindError: "pipelined_behind_error", ClientQueryWaitTimeout: "query_wait_timeout", ClientServerLogin: "server_login",
	ClientServerLost: "server_lost", ClientSettingRefused: "setting_refused", ClientCanceled: "canceled",
	ClientIdleTimeout: "client_idle_timeout", ClientIdleTransaction: "idle_transaction_timeout",
	ClientTransactionTimeout: "transaction_timeout", ClientQueryTimeout: "query_timeout", ClientStatementMode: "statement_mode",
	ClientStateRefused: "state_refused", ClientNotificationsUnread: "notifications_unread", ClientListenImpossible: "listen_impossible",
	ClientShutdown: "shutdown",
}

// String returns the label.
func (r ClientClose) String() string { return clientCloseLabels[r] }

// Ordinary reports that nobody needs to read about such an end in the log at warning level.
func (r ClientClose) Ordinary() bool {
	return r == ClientLeft || r == ClientGone || r == ClientShutdown
}
