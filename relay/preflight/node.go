package preflight

import (
	"context"
	"maps"
	"slices"
	"sync"
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

// Check makes all checks. It takes about as long as three of them that get no answer.
func (n Node) Check(ctx context.Context) (findings []Finding) {
	n.Protocol = oplog.Version
	if n.NATS != nil {
		region := *n.NATS
		region.Node, region.Timeout, region.Now = n.Member.Node, n.Timeout, n.Now
		region.Stored = region.Stored || len(n.Stores) > 0
		findings, n.Cluster = region.Check(ctx)
	}
	stores, ids := n.checkStores(ctx)
	var checks []func(context.Context) []Finding
	for _, license := range slices.Sorted(maps.Keys(n.Registries)) {
		member := n.Member
		member.Store = kvpin.NoStore
		if id, stores := ids[license]; stores {
			member.Store = id
		}
		checks = append(checks, Registry{license, n.Registries[license], &member, n.Timeout, n.Now}.Check)
	}
	findings = append(findings, together(ctx, checks...)...)
	findings = append(findings, stores...)
	return append(findings, together(ctx, Keys{n.Keys, n.Timeout, n.Now}.Check, n.Machine.Check)...)
}

// checkStores returns the ids of the stores as well, empty for one that is not known.
func (n Node) checkStores(ctx context.Context) ([]Finding, map[docid.LicenseRegion]string) {
	var mu sync.Mutex
	ids := map[docid.LicenseRegion]string{}
	var checks []func(context.Context) []Finding
	for _, store := range n.Stores {
		store.Timeout = n.Timeout
		if source, ok := n.Registries[store.License]; ok {
			store.Registry = &source
		}
		checks = append(checks, func(ctx context.Context) []Finding {
			found, id := store.check(ctx)
			mu.Lock()
			defer mu.Unlock()
			ids[store.License] = id
			return found
		})
	}
	return together(ctx, checks...), ids
}
