// Package registry shows, from outside, what clients see when nodes, registries
// and NATS clusters fail: real processes, real kills, real Yjs clients. What
// kvpin's own tests show of the registry alone is here shown of the whole.
package registry

import (
	"os"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

// soak has faults last as long as the contract speaks of, rather than as short as
// shows the same.
func soak() bool { return os.Getenv("WSNODE_SOAK") != "" }

// bound is a time that the contract gives. The race detector makes nodes several
// times slower, which costs a second here and there.
func bound(d time.Duration) time.Duration {
	if cluster.Race() {
		d += 3 * time.Second
	}
	return d
}
