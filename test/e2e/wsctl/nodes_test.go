package wsctl

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/wait"
)

func TestNodesAreShownAndDrained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clients := []*yjs.Client{w.join(w.eu2, "todo", "milk"), w.join(w.eu2, "other", "")}
	type node struct {
		Node, Region, State    string
		Reached                bool
		Connections, Documents int
		Leases                 []struct{ License string }
	}
	var nodes []node
	w.ctl("nodes", "list", "-o", "json").json(&nodes)
	if len(nodes) != 3 || nodes[1].Node != "eu-2" || nodes[1].Connections != 2 || nodes[1].Documents != 2 || nodes[2].Region != "us-east-1" {
		t.Errorf("%+v", nodes)
	}
	for _, n := range nodes {
		if !n.Reached || n.State != "ready" || len(n.Leases) != 2 {
			t.Errorf("%+v", n)
		}
	}
	w.ctl("nodes", "list", "--region", "us-east-1").must().says("us-1", "2/2")
	w.ctl("nodes", "get", "eu-2").must().says("connections", "aws-eu-west-1", "lease")
	w.ctl("nodes", "get", "eu-3").exits(3)
	// A region that wsctl is not pointed at is known by its leases.
	w.ctl("nodes", "list", "--nats-url", w.euNATS).must().says("eu-1", "us-1")

	w.ctl("nodes", "drain").exits(2)
	w.ctl("nodes", "drain", "eu-2").exits(5).says("Drain eu-2 with 2 sessions")
	if a := cluster.Get(t, w.admin["eu-2"]+"/readyz", ""); a.Status != http.StatusOK {
		t.Errorf("ready: %d", a.Status)
	}
	w.ctl("nodes", "drain", "eu-2", "--spread", "0s", "--wait", "--yes").must().says("drained")
	for _, c := range clients {
		if closed := c.WaitClosed(1012); closed.Reason != "Service restart" {
			t.Errorf("%+v", closed)
		}
	}
	w.ctl("nodes", "list").must().says("draining")
	w.ctl("trace", "acme/notes/todo", "--license", "aws-eu-west-1", "--node", "eu-2").exits(1).says("1012")
	if a := cluster.Get(t, w.admin["eu-2"]+"/readyz", ""); a.Status != http.StatusServiceUnavailable || !strings.Contains(string(a.Body), "draining") {
		t.Errorf("ready while draining: %d %s", a.Status, a.Body)
	}
	if a := cluster.Get(t, w.admin["eu-2"]+"/livez", ""); a.Status != http.StatusOK {
		t.Errorf("live while draining: %d", a.Status)
	}
}

func TestALostNodeAndALostRegistryAreSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join(w.us1, "todo", "")
	w.us1.Kill()
	wait.Until(t, "the pin of a node that was killed is an orphan", func() bool {
		return strings.Contains(w.ctl("pins", "list", "--state", "orphaned").out, "notes/todo")
	})
	w.ctl("pins", "release", "acme/notes/todo", "--yes").must()
	w.ctl("check").must()

	w.eu2.Kill()
	w.ctl("nodes", "list").must().says("eu-2", "no answer")

	// Without the registries wsctl still sees the nodes; here they are on a NATS that
	// it is not pointed at and that does not exist.
	gone := "aws-eu-west-1=nats://" + cluster.FreeAddress(t)
	w.ctl("nodes", "list", "--registry", gone).exits(4).says("eu-1", "leases of aws-eu-west-1")
	w.ctl("check", "--registry", gone).exits(6).says("wrong", "aws-eu-west-1")
	w.ctl("pins", "list", "--registry", gone, "--timeout", "1s").exits(4)
	w.ctl("pins", "list", "--nats-url", "nats://"+cluster.FreeAddress(t)).exits(4)
	w.ctl("nodes", "list", "--nats-url", w.usNATS).exits(4).says("no node answers")
}

func TestRegionsAreListedAndSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ctl("regions", "list", "-o", "wide").must().says("eu-central-1", "live", "ws://"+w.us1.Addr, "aws-us-east-1")
	c := w.join(w.us1, "far", "")
	w.ctl("discover", "far", "--token-file", "token.jwt").must().says("us-east-1", "ws://"+w.us1.Addr+"/far", "false")
	w.ctl("discover", "new", "--token-file", "token.jwt", "--url", w.eu1.HTTP()).must().says("eu-central-1", "true")
	w.ctl("discover", "far", "--url", w.eu1.HTTP()).exits(1).says("401")
	w.ctl("discover", "far", "--token", w.token, "--url", "http://"+cluster.FreeAddress(t)).exits(4)

	w.ctl("regions", "set", "us-east-1", "https://us.example").exits(2)
	w.ctl("regions", "set", "aws-us-east-1", "wss://us.example").exits(2)
	w.ctl("regions", "set", "us-east-1", "wss://us.example").exits(5)
	w.ctl("regions", "set", "us-east-1", "wss://us.example/", "--yes").must()
	w.ctl("regions", "list").must().says("wss://us.example")
	wait.Until(t, "nodes send clients to the new URL", func() bool {
		return strings.Contains(w.ctl("discover", "far", "--token-file", "token.jwt", "--url", w.eu1.HTTP()).out, "wss://us.example/far")
	})
	c.MustStay(time.Second)
}

func TestTheRegistryCheckFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ctl("check").must().says("carry eu-central-1", "carry us-east-1", "clock", "latency", "replicas", "weak", "fsync", "unknown", "history replicas", "wsnode-history-0")
	w.ctl("registry", "check").must().says("wsctl registry check is wsctl check now", "latency")
	w.ctl("check", "--monitor", w.monitor).must().says("every write is synced")
	_, unsynced := startNATS(t, "2m")
	w.ctl("check", "--monitor", unsynced).exits(6).says("synced every", "sync_interval: always", "wrong")
	type finding struct {
		License, Check, Result, Mend string
		Figures                      map[string]float64
	}
	var findings []finding
	w.ctl("check", "-o", "json").json(&findings)
	for _, f := range findings {
		if f.Result != "ok" && f.Mend == "" {
			t.Errorf("nobody says how to mend %+v", f)
		}
		for check, figure := range map[string]string{"latency": "medianMs", "clock": "uncertainMs", "replicas": "replicas", "storage": "usedBytes", "leases": "nodes"} {
			if f.Check == check && f.Figures[figure] <= 0 {
				t.Errorf("no %s in %+v", figure, f)
			}
		}
	}
	// A lease that is there although it has expired, as after a kill of servers that
	// do not sync.
	nc, err := nats.Connect(w.euNATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	const gone = "$KV.wsnode-aws-eu-west-1.lease.ap-south-1.gone"
	if _, err := nc.Request(gone, []byte(`{"region":"ap-south-1","lease":"ap-south-1/x","ttl":-60}`), 20*time.Second); err != nil {
		t.Fatal(err)
	}
	w.ctl("check").exits(6).says("expiry", "0 pins and 1 lease are there after their time")
	if _, err := nc.Request("$JS.API.STREAM.PURGE.KV_wsnode-aws-eu-west-1", []byte(`{"filter":"`+gone+`"}`), 20*time.Second); err != nil {
		t.Fatal(err)
	}
	w.ctl("check").must()
	// A second registry of a license region, on the other cluster.
	p := cluster.RunWsnode(t, "serve", "--region", "us-east-2", "--node", "us-2", "--listen", cluster.FreeAddress(t), "--public-url", "ws://us-2.example",
		"--nats-url", w.usNATS, "--registry", "aws-us-east-1="+w.usNATS, "--jwks-url", w.jwks, "--drain-spread", "0s", "--admin-listen", "off")
	p.WaitLine(func(line string) bool { return strings.Contains(line, "msg=ready") })
	w.ctl("check").exits(6).says("only one", "pins every document by itself", w.usNATS)
}

// A node that is set up with another cluster's NATS, but with its region's name, must
// not take clients: they would not meet those of the other nodes.
func TestANodeOnAnotherClusterThanItsRegionIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address, admin := cluster.FreeAddress(t), cluster.FreeAddress(t)
	p := cluster.RunWsnode(t, "serve", "--region", "eu-central-1", "--node", "eu-3", "--listen", address, "--public-url", "ws://eu-3.example",
		"--nats-url", w.usNATS, "--registry", "aws-eu-west-1="+w.euNATS, "--jwks-url", w.jwks, "--drain-spread", "0s", "--admin-listen", admin)
	p.WaitLine(func(line string) bool {
		return strings.Contains(line, "do not belong together") && strings.Contains(line, "eu-1")
	})
	for url, want := range map[string]int{
		"http://" + address + "/health": 503, "http://" + admin + "/readyz": 503, w.eu1.HTTP() + "/health": 200,
	} {
		answer, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s answers %d, expected %d", url, answer.StatusCode, want)
		}
	}
	w.ctl("check").exits(6).says("eu-3", "do not belong together")
}
