package frontdoor

import (
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/wait"
)

// TestAClientThatNeverEndsItsRequestSpoilsNoStop: the node gives its lease back, which
// would run for minutes otherwise.
func TestAClientThatNeverEndsItsRequestSpoilsNoStop(t *testing.T) {
	t.Parallel()
	keys, nats := issuer.New(t), cluster.StartNATS(t)
	start := func(region string) *cluster.Node {
		return cluster.Serve{Name: region, Region: region, URL: "ws://" + region + ".example", NATS: nats, JWKS: keys.JWKS,
			Flags: []string{"--admin-listen", "off", "--lease", "10m"}}.StartHealthy(t)
	}
	stays, stops := start("eu-central-1"), start("us-east-1")
	for _, request := range []string{
		"GET /nothing HTTP/1.1\r\nHost: node\r\nContent-Length: 1000\r\n\r\n",
		"OPTIONS /health HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		conn, err := dialTCP(stops.Addr)
		must(t, err)
		defer conn.Close()
		must(t, sendAll(conn, []byte(request)))
	}
	join(t, stops, "open", keys.Token(nil), nil) // by now the node has read what came before
	began := time.Now()
	stops.Terminate()
	if code := stops.Wait(); code != 0 {
		t.Errorf("the node ended with %d:\n%s", code, stops.Output())
	}
	t.Logf("it ended %v after SIGTERM", time.Since(began).Round(time.Millisecond))
	wait.Within(t, patience, "the lease is given back", func() bool {
		a := cluster.Get(t, stays.HTTP()+"/regions", "")
		return strings.Contains(string(a.Body), `"us-east-1","url":"ws://us-east-1.example","status":"down"`)
	})
}
