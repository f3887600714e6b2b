package quota

import "fmt"

// dump spells what the registry and the nodes hold, for failures.
func (f *fleet) dump() string {
	f.bucket.mu.Lock()
	v := f.bucket.values[testApp.LimitKey(appScope)]
	leases := fmt.Sprint(f.bucket.leases)
	f.bucket.mu.Unlock()
	text := fmt.Sprintf("leases %s\nrecord at %d: %s\n", leases, v.revision, v.value)
	r, _ := decodeRecord(v.value)
	for h, d := range r.documents {
		text += fmt.Sprintf("  %x hot %d %v\n", uint64(h), d.hot, d.users)
	}
	for _, n := range f.nodes {
		n.mu.Lock()
		if a := n.apps[testApp]; a != nil {
			a.mu.Lock()
			text += fmt.Sprintf("%s cut %v: %d connections, view at %d, %d unsettled at %d, dirty %v stale %v running %v waiting %d\n",
				n.registry.node, n.registry.cut, a.connections, a.revision, len(a.unsettled), a.unsettledAt, a.dirty, a.stale, a.running, len(a.waiting))
			a.mu.Unlock()
		}
		n.mu.Unlock()
	}
	return text
}
