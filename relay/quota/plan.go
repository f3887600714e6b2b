// Package quota holds apps to the limits of their plans, over all nodes and regions:
// how many sessions, documents and sessions of a document they have (Places), how many
// operations a minute (Ops), and what they use right now (Usage). docs/quota.md
// describes the reservations that Places makes.
//
// What decides knows neither NATS nor the registry: it is given small interfaces.
// Theirs are OnRegistry and NATSExchange.
package quota

import (
	"errors"
	"fmt"
)

// ErrUnavailable is returned when a place would need the registry and the
// registry, or another node that holds places, does not answer. Clients should
// come again: close code 1013.
var ErrUnavailable = errors.New("quota: the registry cannot be asked")

// Plan is what an app may have. Zero means no limit.
type Plan struct {
	MaxConnections int // connections of the app, everywhere
	MaxDocuments   int // distinct documents with sessions, everywhere
	MaxUsersPerDoc int // sessions of one document
}

// Within returns the plan under the operator's ceilings: of two limits the
// smaller.
func (p Plan) Within(ceilings Plan) Plan {
	return Plan{
		MaxConnections: smaller(p.MaxConnections, ceilings.MaxConnections),
		MaxDocuments:   smaller(p.MaxDocuments, ceilings.MaxDocuments),
		MaxUsersPerDoc: smaller(p.MaxUsersPerDoc, ceilings.MaxUsersPerDoc),
	}
}

func smaller(a, b int) int {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Kind names a limit of a plan.
type Kind int

// The limits of a plan.
const (
	Connections Kind = iota
	Documents
	Users
)

// String is the limit's name in tokens.
func (k Kind) String() string {
	switch k {
	case Connections:
		return "maxConnections"
	case Documents:
		return "maxDocuments"
	}
	return "maxUsersPerDoc"
}

// ExceededError says that an app or document is full.
type ExceededError struct {
	Kind   Kind
	Limit  int
	Active int // how many there are, the refused one not counted
}

// Error is the close reason of the contract: code 4004, 4005 or 4008.
func (e *ExceededError) Error() string {
	switch e.Kind {
	case Connections:
		return fmt.Sprintf("Connection limit exceeded: %d", e.Limit)
	case Documents:
		return fmt.Sprintf("Document limit exceeded: %d (active: %d)", e.Limit, e.Active)
	}
	return fmt.Sprintf("Document user limit exceeded: %d", e.Limit)
}
