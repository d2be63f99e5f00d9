package stats

// Promotion is the reason for which a linked server was moved to the session pool's budget. It is a label of the metrics.
type Promotion uint8

// The reasons.
const (
	PromotedLongTransaction Promotion = iota // its transaction lasted for long_transaction
	PromotedSessionState                     // its client made session state that only a connection can hold
	promotions                               // their number
)

// String returns the label.
func (r Promotion) String() string { return [promotions]string{"long_transaction", "session_state"}[r] }
