package kvpin_test

import (
	"fmt"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/test/natstest"
)

// Drain has the lease renewed at once; that renewal must not overwrite the record that the
// node has left.
func TestNodeThatDrainsAndLeavesGivesItsLeaseBack(t *testing.T) {
	t.Parallel()
	server := natstest.Server(t)
	witness := open(t, server.URL, "eu-central-1", "witness")
	for i := range 30 {
		r := open(t, server.URL, "us-east-1", docid.NodeID(fmt.Sprintf("node-%d", i)))
		r.Drain()
		if err := r.Close(t.Context()); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		regions, err := witness.Regions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, region := range regions {
			if region.Region == "us-east-1" && region.Status == kvpin.RegionLive {
				t.Fatalf("round %d: us-east-1 is live after its only node left", i)
			}
		}
	}
}
