package kvpin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

const bucketPrefix = "wsnode-"

// bucketName is the bucket of a license region.
func bucketName(license docid.LicenseRegion) string { return bucketPrefix + string(license) }

// StreamName is the name of the JetStream stream below a license region's bucket,
// for operators' tools.
func StreamName(license docid.LicenseRegion) string { return kv.StreamName(bucketName(license)) }

// Find returns the license regions whose registries are on a NATS cluster, sorted.
// It is for operators: nodes are told where their registries are.
func Find(ctx context.Context, nc *nats.Conn, domain string) ([]docid.LicenseRegion, error) {
	names, err := kv.Names(ctx, nc, domain)
	if err != nil {
		return nil, err
	}
	var found []docid.LicenseRegion
	for _, name := range names {
		if license, ok := strings.CutPrefix(name, bucketPrefix); ok && docid.ValidRegion(license) {
			found = append(found, docid.LicenseRegion(license))
		}
	}
	slices.Sort(found)
	return found, nil
}

// Create creates the bucket of a license region if it is missing, and checks it
// otherwise, for those who set up a registry whose nodes may not. It reports
// whether it did.
func Create(ctx context.Context, license docid.LicenseRegion, source Source) (created bool, err error) {
	link, err := kv.Connect(source, "wsnode registry setup", nil)
	if err != nil {
		return false, err
	}
	defer link.Close()
	if err = link.Ready(ctx); err == nil {
		created, err = link.Bucket(bucketName(license), source.Domain).Ensure(ctx, source)
	}
	if err != nil {
		return false, fmt.Errorf("create registry %s: %w", license, err)
	}
	return created, nil
}

// CheckServer says why the NATS server of a connection is too old for nodes.
func CheckServer(nc *nats.Conn) error { return kv.CheckServer(nc) }
