package kvpin

import (
	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// Conn returns the registry's connection to the cluster of a license region, nil
// if that is not served. It is for small questions between the nodes that serve
// it, and must not be closed. After an end for good there is another one.
func (r *Registry) Conn(license docid.LicenseRegion) *nats.Conn {
	b := r.buckets[license]
	if b == nil {
		return nil
	}
	s, ok := b.store.(*kv.NATSStore)
	if !ok {
		return nil
	}
	return s.Conn()
}
