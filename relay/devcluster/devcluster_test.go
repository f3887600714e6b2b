package devcluster_test

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/devcluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect opens a document and returns what its first message is.
func connect(t *testing.T, url, token string) (*websocket.Conn, error) {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url+"/todo", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
	if err == nil {
		t.Cleanup(func() { _ = c.CloseNow() })
		_, _, err = c.Read(t.Context())
	}
	return c, err
}

func TestARegionInOneLine(t *testing.T) {
	url, token := devcluster.ForTest(t).Client(authn.Subject{Tenant: "acme", App: "notes"})
	if _, err := connect(t, url, token); err != nil {
		t.Fatal(err)
	}
}

func TestADocumentOfAnotherRegionIsRedirected(t *testing.T) {
	c := devcluster.ForTest(t, devcluster.Options{Regions: []docid.Region{"eu-1", "us-1"}, Nodes: 2})
	_, token := c.Client(authn.Subject{Tenant: "acme", App: "notes"})
	if _, err := connect(t, c.Regions[0].Nodes[1].URL, token); err != nil {
		t.Fatal(err)
	}
	_, err := connect(t, c.Regions[1].URL, token)
	if websocket.CloseStatus(err) != 4009 || !strings.Contains(err.Error(), c.Regions[0].URL) {
		t.Errorf("%v, expected 4009 and %s", err, c.Regions[0].URL)
	}
}

func TestANodeStopsAndStartsOnItsPort(t *testing.T) {
	c := devcluster.ForTest(t)
	url, token := c.Client(authn.Subject{Tenant: "acme", App: "notes"})
	n := c.Regions[0].Nodes[0]
	for what, stop := range map[string]func(){
		"killed":  n.Kill,
		"stopped": func() { _ = n.Stop(t.Context()) },
	} {
		conn, err := connect(t, url, token)
		if err != nil {
			t.Fatal(err)
		}
		stop()
		if _, _, err := conn.Read(t.Context()); err == nil || n.State() != devcluster.Down || n.Current() != nil {
			t.Errorf("%s: %v, %s", what, err, n.State())
		}
		if _, err := connect(t, url, token); err == nil {
			t.Errorf("%s: somebody answers", what)
		}
		if err := n.Start(t.Context()); err != nil || n.State() != devcluster.Up {
			t.Fatalf("started again: %v, %s", err, n.State())
		}
	}
}

func TestANodeThatWasDrainedFromOutsideStartsAgain(t *testing.T) {
	n := devcluster.ForTest(t).Regions[0].Nodes[0]
	before := n.Current()
	if err := before.Drain(t.Context(), 0, 0); err != nil || n.State() != devcluster.Draining {
		t.Fatalf("drained: %v, %s", err, n.State())
	}
	if err := n.Start(t.Context()); err != nil || n.State() != devcluster.Up || n.Current() == before {
		t.Errorf("started again: %v, %s", err, n.State())
	}
}

func TestAPortThatIsTakenIsSaidAndNothingStays(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := devcluster.New(devcluster.Options{Nodes: 2, Listen: func(_, node int) (net.Listener, string, error) {
		at := "127.0.0.1:0"
		if node == 1 {
			at = taken.Addr().String()
		}
		l, err := net.Listen("tcp", at)
		return l, "ws://" + at, err
	}})
	if err := c.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("%v", err)
	}
}

func TestFaultsAreMadeAndMended(t *testing.T) {
	c := devcluster.ForTest(t)
	r := c.Regions[0]
	for _, on := range []bool{true, false} {
		r.Cut(on)
		if err := r.RefuseEdits(t.Context(), on); err != nil {
			t.Fatal(err)
		}
		if r.IsCut() != on || r.RefusesEdits() != on {
			t.Errorf("%t: cut %t, refuses %t", on, r.IsCut(), r.RefusesEdits())
		}
	}
	url, token := c.Client(authn.Subject{Tenant: "acme", App: "notes"})
	// The node looks for its registry again by and by.
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		_, err := connect(t, url, token)
		if err == nil {
			return
		}
		if websocket.CloseStatus(err) != websocket.StatusTryAgainLater || time.Now().After(end) {
			t.Fatalf("after it was mended: %v", err)
		}
	}
}

// Requests are passed to the node until it has ended, and must not meet its end halfway:
// the race detector sees it.
func TestClientsKnockWhileANodeEnds(t *testing.T) {
	c := devcluster.ForTest(t)
	url, token := c.Client(authn.Subject{Tenant: "acme", App: "notes"})
	n := c.Regions[0].Nodes[0]
	stop := make(chan struct{})
	var knocking sync.WaitGroup
	for range 4 {
		knocking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if c, _, err := websocket.Dial(t.Context(), url+"/todo?token="+token, nil); err == nil {
					_ = c.CloseNow()
				}
			}
		})
	}
	for range 3 {
		_ = n.Stop(t.Context()) // on a busy machine it may end before all is given up
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	knocking.Wait()
}
