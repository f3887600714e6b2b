package frontdoor

import (
	"testing"
	"time"

	"github.com/wsnode/wsnode/clients/load"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/crowd"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// rollout is how large a rolling restart is.
type rollout struct {
	docs, clients int // clients of each document
	rate          int // edits per second over all documents
	delay, spread time.Duration
}

// mostOffline is how long a client may be offline for a node that restarts: what
// is promised where the test has the machine for itself, in a soak, and a multiple
// of it where nodes with the race detector share it with other tests.
func mostOffline() time.Duration {
	if soak() {
		return 3 * time.Second
	}
	return 12 * time.Second
}

func TestARollingRestartLosesNoEditAndKeepsNobodyOfflineForLong(t *testing.T) {
	r := rollout{docs: 12, clients: 5, rate: 60, delay: 200 * time.Millisecond, spread: time.Second}
	if soak() {
		r = rollout{docs: 60, clients: 10, rate: 600, delay: time.Second, spread: 5 * time.Second}
		cluster.WithoutRace(t)
	} else {
		t.Parallel()
	}
	keys := issuer.New(t)
	serve := cluster.Serve{Region: "eu-central-1", JWKS: keys.JWKS, NATS: cluster.StartNATS(t), URL: "ws://eu-central-1.example", Flags: []string{
		"--admin-listen", "off", "--drain-delay", r.delay.String(), "--drain-spread", r.spread.String(),
		"--refused-per-minute", "0", "--admitted-per-minute", "0", "--health-per-minute", "0", // all come from one address
	}}
	target := load.Target{Name: "region", Token: keys.Token(nil)}
	nodes := make([]*cluster.Node, 3)
	for i := range nodes {
		nodes[i] = serve.StartHealthy(t)
		target.URLs = append(target.URLs, nodes[i].WS())
	}
	people := crowd.Start(t, "typing clients", target, load.EndureOptions{Docs: r.docs, Clients: r.clients, Rate: r.rate})
	people.Wait(time.Second)
	for i, n := range nodes {
		start := time.Now()
		n.Terminate()
		if code := n.Wait(); code != 0 {
			t.Errorf("node %d ended with %d", i, code)
		}
		ended := time.Since(start)
		again := serve
		again.Listen = n.Addr
		nodes[i] = again.StartHealthy(t)
		t.Logf("node %d ended %v after SIGTERM and was back after %v", i, ended.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
	}
	people.Wait(time.Second)
	result := people.Finish()
	// Whoever was on a node that restarted came back: at least everybody of the first one.
	if returns, _ := result.Value("returns"); int(returns) < r.docs*r.clients/len(nodes) {
		t.Errorf("%v clients came back, expected a third of %d and more", returns, r.docs*r.clients)
	}
	if longest := crowd.Value(result, "offline max"); longest > mostOffline() {
		t.Errorf("a client was offline for %v, %v are allowed", longest, mostOffline())
	}
}
