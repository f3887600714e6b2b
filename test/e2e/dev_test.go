package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/wait"
)

// Not parallel: it measures time.
func TestCtrlCEndsDevModeInUnderTwoSeconds(t *testing.T) {
	dev := cluster.StartDev(t)
	node := yjs.Start(t)
	token := dev.Token()
	for i := range 20 {
		o := on(dev, i%2, i/2%2, token, fmt.Sprintf("doc-%d", i%4))
		o.Follow, o.User = true, fmt.Sprint("user ", i)
		node.Join(o)
	}
	allowed := 2 * time.Second
	if cluster.Race() {
		allowed *= 2
	}
	clock := wait.Start()
	if took := dev.Stop(); clock.Exceeds(allowed) {
		t.Errorf("it took %v", took)
	}
}

func TestDevModeSaysWhatRunsWhere(t *testing.T) {
	t.Parallel()
	regions := []string{"eu-central-1", "eu-central-2", "us-east-1"}
	dev := cluster.DevConfig{Regions: regions, Nodes: 3}.Start(t)
	out := dev.Output()
	if lines := strings.Split(strings.TrimSpace(out), "\n"); lines[len(lines)-1] != "ready" {
		t.Errorf("the last line is %q, expected ready", lines[len(lines)-1])
	}
	for i, region := range regions {
		for j := range 3 {
			if !strings.Contains(out, dev.Addr(i, j)) {
				t.Errorf("%s is not in the output", dev.Addr(i, j))
			}
			found := cluster.Discover(t, dev.HTTP(i, j), dev.Token(), "doc")
			if expected := (cluster.Discovery{Region: region, URL: dev.WS(i, 0) + "/doc", IsNew: true}); found != expected {
				t.Errorf("%+v, expected %+v", found, expected)
			}
		}
	}
}

func TestDevTokensAreWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	base := dev.HTTP(cluster.EU, 0)
	expired := dev.Token("ttl", "-60")
	if a := cluster.Get(t, base+"/discovery?documentName=doc", expired); a.Status != http.StatusUnauthorized {
		t.Errorf("expired token: %d %s", a.Status, a.Body)
	}
	if h := cluster.Shake(t, dev.Addr(cluster.US, 1), "/doc?token="+expired, nil); h.Code != 4002 || h.Reason != "Invalid token: expired" {
		t.Errorf("expired token: %+v", h)
	}
	page := http.Header{"Origin": {"https://other.example"}}
	if h := cluster.Shake(t, dev.Addr(cluster.EU, 1), "/doc?token="+dev.Token("domain", "editor.example"), page); h.Code != 4003 || h.Reason != "Forbidden: origin" {
		t.Errorf("page of another domain: %+v", h)
	}
	page.Set("Origin", "https://editor.example")
	if h := cluster.Shake(t, dev.Addr(cluster.EU, 1), "/doc?token="+dev.Token("domain", "editor.example"), page); h.Status != http.StatusSwitchingProtocols || h.Code != 0 {
		t.Errorf("page of the domain: %+v", h)
	}
	var keys struct{ Keys []map[string]any }
	cluster.Get(t, base+"/dev/jwks", "").JSON(&keys)
	if len(keys.Keys) == 0 || keys.Keys[0]["kty"] == nil || keys.Keys[0]["d"] != nil {
		t.Errorf("keys are %v, expected public ones", keys.Keys)
	}
	for _, bad := range []string{"ttl=soon", "access=all", "maxConnections=many"} {
		if a := cluster.Get(t, base+"/dev/token?"+bad, ""); a.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, a.Status, a.Body)
		}
	}
}

func TestDocumentsOutliveDevModeInItsDataFolder(t *testing.T) {
	t.Parallel()
	config := cluster.DevConfig{Flags: []string{"--data", t.TempDir(), "--grace", "600s"}}
	node := yjs.Start(t)
	dev := config.Start(t)
	c := node.Join(on(dev, cluster.EU, 0, dev.Token(), "doc"))
	c.Insert(0, "kept")
	other := node.Join(on(dev, cluster.EU, 1, dev.Token(), "doc"))
	other.WaitText("kept")
	c.Destroy()
	other.Destroy()
	dev.Stop()

	config.Port = dev.Port // the region's URL is in the data
	dev = config.Start(t)
	node.Join(on(dev, cluster.EU, 1, dev.Token(), "doc")).WaitText("kept")
}
