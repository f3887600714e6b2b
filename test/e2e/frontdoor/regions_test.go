package frontdoor

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// regions is four nodes in two regions, each region with a NATS of its own; the first
// one's holds the registry. Nodes 0 and 1 are the first region's.
type regions struct {
	keys  *issuer.Issuer
	nodes []*cluster.Node
}

const nodesPerRegion = 2

func startRegions(t *testing.T) *regions {
	t.Helper()
	w := &regions{keys: issuer.New(t)}
	var registry string
	for i, name := range []string{"eu-central-1", "us-east-1"} {
		nats := cluster.StartNATS(t)
		if i == 0 {
			registry = nats
		}
		for j := range nodesPerRegion {
			address := cluster.FreeAddress(t)
			p := cluster.RunWsnode(t, "serve", "--region", name, "--node", fmt.Sprintf("%s-%d", name, j),
				"--listen", address, "--public-url", "ws://"+name+".example", "--nats-url", nats,
				"--registry", "aws-eu-west-1="+registry, "--jwks-url", w.keys.JWKS, "--drain-spread", "0s", "--admin-listen", "off",
				// All come from one address.
				"--refused-per-minute", "0", "--admitted-per-minute", "0", "--health-per-minute", "0")
			w.nodes = append(w.nodes, cluster.Started(t, p, address))
		}
	}
	return w
}

// visit is a client that tried to get in.
type visit struct {
	*socket        // nil: it was refused
	refused closed // why
}

// try opens a document on a node; anything but being let in or refused is an error.
func (w *regions) try(node int, document, token string) (visit, error) {
	address := w.nodes[node].Addr
	s, err := open(address, handshake(address, document, token, goodAddress), nil)
	if err != nil {
		return visit{}, err
	}
	if _, err = s.read(); err == nil {
		return visit{socket: s}, nil
	}
	s.Close()
	var v visit
	if errors.As(err, &v.refused) {
		return v, nil
	}
	return v, err
}

// settling is how soon a free place must be there for whoever asks again, on a busy
// machine: nodes tell each other by the registry.
const settling = 2 * time.Minute

// enter tries until it is let in, and returns how many attempts were refused before.
func (w *regions) enter(t *testing.T, node int, document, token string) (v visit, refused int) {
	t.Helper()
	for end := time.Now().Add(settling); ; refused++ {
		v, err := w.try(node, document, token)
		must(t, err)
		if v.socket != nil {
			t.Cleanup(func() { v.Close() })
			return v, refused
		}
		if time.Now().After(end) {
			t.Fatalf("one too few: node %d refuses %s for %v: %v", node, document, settling, v.refused)
		}
		time.Sleep(10 * time.Millisecond) // as a client that was told to come again
	}
}

// full reports whether a client was refused for a limit.
func (v visit) full(code int, reason string) bool {
	return v.socket == nil && v.refused.code == code && strings.HasPrefix(v.refused.reason, reason)
}
