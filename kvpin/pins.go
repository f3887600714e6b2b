package kvpin

import (
	"sync/atomic"

	"github.com/wsnode/wsnode/docid"
)

// pins are what a node does with the pins of one registry: look up, hold, release,
// validate, and what it owes of these. Every operation on a document has that document's
// turn. Every change is a compare-and-swap that names a lease which was current when it
// was sent. And a write without an answer is remembered with the document until the
// fence, or another revision, has settled it; until then it is reckoned to land.
type pins struct {
	cfg      *Config // static
	license  docid.LicenseRegion
	requests *requests
	clock    *bucketClock
	lease    *lease
	leases   *leases
	docs     *documents
	regions  *regions
	sweep    func(occasion) // asks for a sweep
	rooms    atomic.Pointer[Rooms]

	hints     hints
	debts     debts
	takeovers atomic.Uint64
}
