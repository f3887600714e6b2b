package kvpin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
)

// Find returns the license regions whose registries are on a NATS cluster, sorted.
// It is for operators: nodes are told where their registries are.
func Find(ctx context.Context, nc *nats.Conn, domain string) ([]docid.LicenseRegion, error) {
	js, err := jetStream(nc, domain)
	if err != nil {
		return nil, err
	}
	prefix := StreamName("")
	var found []docid.LicenseRegion
	lister := js.StreamNames(ctx)
	for name := range lister.Name() {
		if license, ok := strings.CutPrefix(name, prefix); ok && docid.ValidRegion(license) {
			found = append(found, docid.LicenseRegion(license))
		}
	}
	if err := lister.Err(); err != nil {
		return nil, fmt.Errorf("list buckets: %w", err)
	}
	slices.Sort(found)
	return found, nil
}

// StreamName is the name of the JetStream stream below a license region's bucket,
// for operators' tools.
func StreamName(license docid.LicenseRegion) string { return "KV_" + bucketName(license) }
