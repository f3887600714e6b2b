package devcluster

import (
	"context"
	"time"

	"github.com/wsnode/wsnode/authn"
)

// TB is what ForTest needs of a testing.TB.
type TB interface {
	Helper()
	Context() context.Context
	Fatal(...any)
	Cleanup(func())
}

// TestCluster is a cluster that ends with its test.
type TestCluster struct {
	*Cluster
	t TB
}

// testEnd is how long a cluster may take to end with its test.
const testEnd = 10 * time.Second

// ForTest starts a cluster, by default of one node, which ends with the test. What fails
// ends the test.
func ForTest(t TB, o ...Options) TestCluster {
	t.Helper()
	var options Options
	if len(o) > 0 {
		options = o[0]
	}
	c := New(options)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal("start a cluster:", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testEnd)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Fatal("end a cluster:", err)
		}
	})
	return TestCluster{c, t}
}

// Client returns what a client of the first node needs: the URL, and a token for the
// subject, whose license region is by default the cluster's first.
func (c TestCluster) Client(s authn.Subject) (url, token string) {
	c.t.Helper()
	url, token, err := c.Cluster.Client(s)
	if err != nil {
		c.t.Fatal("mint a token:", err)
	}
	return url, token
}
