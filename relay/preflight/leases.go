package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
)

// inspect looks at what nodes have written into the registry, and returns the checks of the
// ways to the regions that it names.
func (k *registry) inspect(ctx context.Context) (ways []func(context.Context) []Finding) {
	i, err := kvpin.OpenInspector(ctx, map[docid.LicenseRegion]kvpin.Source{k.License: k.Source})
	if err != nil {
		return nil // the bucket is unfit, which is found already
	}
	defer i.Close()
	leases, err := i.Leases(ctx, k.License)
	switch {
	case err != nil:
		k.add("leases", Wrong, "look again; if it stays so, see the bucket's servers", "%v", err)
		return nil
	case len(leases) == 0 && k.Node == nil:
		k.add("leases", Weak, "start a node, or see why those that run do not reach this registry", "no node has a lease")
	default:
		k.add("leases", OK, "", "%s", plural(len(leases), "node"))
		k.measured(map[string]float64{"nodes": float64(len(leases))})
	}
	k.times(leases)
	k.clocks(leases)
	k.together(leases)
	if k.Node != nil {
		k.regionURL(ctx, i)
	}
	k.outlived(ctx, i)
	return k.carriedTo(ctx, i, leases)
}

// times looks whether all nodes have the same lease time: one whose time is longer
// takes another one for alive that is not, and waits for what is long over.
func (k *registry) times(leases []kvpin.Lease) {
	whose := map[time.Duration][]string{}
	if k.Node != nil {
		whose[k.Node.Lease] = []string{"this node"}
	}
	for _, l := range leases {
		if l.Time > 0 {
			whose[l.Time] = append(whose[l.Time], string(l.Region)+"/"+string(l.Node))
		}
	}
	if len(whose) < 2 {
		return
	}
	var parts []string
	for lease, nodes := range whose {
		parts = append(parts, fmt.Sprintf("%s of %s", lease, strings.Join(nodes[:min(len(nodes), 3)], ", ")))
	}
	slices.Sort(parts)
	k.add("lease times", Wrong, "give all nodes of all regions the same --lease", "they are unequal: %s", strings.Join(parts, "; "))
}

// clocks looks at the clocks of nodes: when a node wrote its lease, by its own clock and
// by that of the registry.
func (k *registry) clocks(leases []kvpin.Lease) {
	for _, l := range leases {
		if l.Clock.IsZero() {
			continue
		}
		off := l.Clock.Sub(l.Renewed)
		result := OK
		switch {
		case off.Abs() > clockWrong:
			result = Wrong
		case off.Abs() > clockWeak+latencyWrong:
			result = Weak
		}
		if result != OK {
			k.add("clock of "+string(l.Node), result, "keep its clock, and those of the registry's servers, by NTP", "node %s in %s is %s off the registry's leader",
				l.Node, l.Region, off.Round(time.Millisecond))
			k.measured(map[string]float64{"offMs": inMS(off)})
		}
	}
}

// together looks whether the nodes of each region belong together, by what they say in
// their leases, which are sorted by region. The first node of a region to start stands
// for it.
func (k *registry) together(leases []kvpin.Lease) {
	first := map[docid.Region]kvpin.Lease{}
	for _, l := range leases {
		if f, ok := first[l.Region]; !ok || l.Started.Before(f.Started) {
			first[l.Region] = l
		}
	}
	const mend = "give all its nodes the same --nats-url, the same --store and the same version"
	for _, l := range leases {
		if why := first[l.Region].Differs(l.About); why != "" {
			k.add("region "+string(l.Region), Wrong, mend, "nodes %s and %s do not belong together: %s", first[l.Region].Node, l.Node, why)
		}
	}
	if k.Node == nil {
		return
	}
	if f, ok := first[k.Node.Region]; ok {
		if why := f.Differs(k.Node.About); why != "" {
			k.add("region "+string(k.Node.Region), Wrong, mend, "node %s and this one do not belong together: %s", f.Node, why)
		}
	}
}

// regionURL looks where the registry sends clients of this region.
func (k *registry) regionURL(ctx context.Context, i *kvpin.Inspector) {
	regions, err := i.Regions(ctx, k.License)
	if err != nil {
		k.add("region URL", Unknown, "look again; if it stays so, see the bucket's servers", "%v", err)
		return
	}
	for _, r := range regions {
		if r.Region != k.Node.Region || r.URL == "" {
			continue
		}
		if r.URL != k.Node.PublicURL {
			k.add("region URL", Weak, fmt.Sprintf("wsctl regions set %s URL, or another --public-url", r.Region),
				"the registry sends clients of %s to %s, and this node is told %s", r.Region, r.URL, k.Node.PublicURL)
		}
		return
	}
	r := &rights{nc: k.nc, timeout: k.Timeout}
	write := "$KV." + strings.TrimPrefix(k.stream, "KV_") + ".region." + string(k.Node.Region)
	if k.Source.Domain != "" {
		write = apiPrefix(k.Source.Domain) + write
	}
	if r.write(ctx, write); len(r.missing) > 0 {
		k.add("region URL", Wrong, fmt.Sprintf("wsctl regions set %s %s", k.Node.Region, k.Node.PublicURL),
			"the registry has none for %s, and this node may not write it: other regions cannot send clients here", k.Node.Region)
	}
}

// outlived looks for keys that are there although they have expired.
func (k *registry) outlived(ctx context.Context, i *kvpin.Inspector) {
	found, err := i.Outlived(ctx, k.License)
	pins, leases := len(found.Pins), len(found.Leases)
	result := OK
	switch {
	case err != nil:
		k.add("expiry", Wrong, "look again; if it stays so, see the bucket's servers", "%v", err)
		return
	case pins+leases > 0:
		result = Wrong
	}
	k.add("expiry", result, "set sync_interval: always in the servers' jetstream block; nodes ignore these keys and remove them within two hours",
		"%s and %s are there after their time", plural(pins, "pin"), plural(leases, "lease"))
	k.measured(map[string]float64{"pins": float64(pins), "leases": float64(leases)})
}
