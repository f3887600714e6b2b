package preflight

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/oplog"
)

// Node is all that a node would run on.
type Node struct {
	Member
	NATS       *Region // nil: inside the process
	Registries map[docid.LicenseRegion]kvpin.Source
	Keys       authn.Config
	Stores     []Store
	Machine    Machine
	Timeout    time.Duration // of each check; 0: DefaultTimeout
	Now        Now           // nil: the machine's clock
}

// Check makes all checks. It takes about as long as one of them that gets no answer.
func (n Node) Check(ctx context.Context) (findings []Finding) {
	n.Protocol = oplog.Version
	if n.NATS != nil {
		region := *n.NATS
		region.Node, region.Timeout, region.Now = n.Member.Node, n.Timeout, n.Now
		region.Stored = region.Stored || len(n.Stores) > 0
		findings, n.Cluster = region.Check(ctx)
	}
	var checks []func(context.Context) []Finding
	for _, license := range slices.Sorted(maps.Keys(n.Registries)) {
		checks = append(checks, Registry{license, n.Registries[license], &n.Member, n.Timeout, n.Now}.Check)
	}
	for _, store := range n.Stores {
		store.Timeout = n.Timeout
		checks = append(checks, store.Check)
	}
	checks = append(checks, Keys{n.Keys, n.Timeout, n.Now}.Check, n.Machine.Check)
	return append(findings, together(ctx, checks...)...)
}
