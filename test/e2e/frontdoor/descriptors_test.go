package frontdoor

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/wait"
)

// A node that may open few files is asked for more connections than that: it says so
// where operators look, answers its probes meanwhile, and serves again afterwards.
func TestANodeWithoutDescriptorsAnswersItsProbesAndSaysSo(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	admin := cluster.FreeAddress(t)
	const files = 128
	node := cluster.Serve{
		Region: "eu-central-1", JWKS: keys.JWKS, Flags: []string{"--admin-listen", admin},
		Under: []string{"prlimit", fmt.Sprintf("--nofile=%d", files)},
	}.StartHealthy(t)

	var held []net.Conn
	release := func() {
		for _, c := range held {
			c.Close()
		}
		held = nil
	}
	defer release()
	// Those that are closed at once make room for others: only what is said counts.
	for range 10 * files {
		c, err := net.Dial("tcp", node.Addr)
		must(t, err)
		held = append(held, c)
	}
	wait.Within(t, patience, "the node says why it closes connections", func() bool {
		return strings.Contains(node.Output(), "level=WARN") && strings.Contains(node.Output(), "closed at once")
	})
	if open := openFiles(t, node); open > files {
		t.Errorf("%d files are open, more than there may be", open)
	}
	for _, probe := range []string{"/livez", "/metrics"} {
		response, err := http.Get("http://" + admin + probe)
		must(t, err)
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s answers %s while clients have all descriptors that they may have", probe, response.Status)
		}
	}
	release()
	wait.Within(t, patience, "the node serves again", func() bool {
		response, err := http.Get(node.HTTP() + "/health")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}
