package e2e

import (
	"strings"
	"syscall"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// A node is reloaded by whatever renews certificates, at any time, in vain too.
func TestSIGHUPNeverEndsANode(t *testing.T) {
	t.Parallel()
	keys, listen := issuer.New(t), cluster.FreeAddress(t)
	// Without a NATS it waits.
	waits := cluster.RunWsnode(t, "serve", "--region", "eu-central-1", "--public-url", "ws://"+listen, "--listen", cluster.FreeAddress(t),
		"--nats-url", "nats://"+cluster.FreeAddress(t), "--single-region", "--jwks-url", keys.JWKS, "--admin-listen", "off")
	waits.WaitLine(func(line string) bool { return strings.Contains(line, "NATS is not reachable yet") })
	runs := cluster.Started(t, cluster.RunWsnode(t, "serve", "--region", "eu-central-1", "--public-url", "ws://"+listen, "--listen", listen,
		"--standalone", "--single-region", "--jwks-url", keys.JWKS, "--admin-listen", "off", "--drain-spread", "0s"), listen)
	for _, p := range []*cluster.Process{waits, runs.Process} {
		if err := syscall.Kill(p.PID(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		p.WaitLine(func(line string) bool { return strings.Contains(line, "SIGHUP: read again") })
	}
	if a := cluster.Get(t, runs.HTTP()+"/health", ""); a.Status != 200 {
		t.Errorf("after SIGHUP it answers %d", a.Status)
	}
}
