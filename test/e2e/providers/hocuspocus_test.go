package providers

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

func TestProvidersOfHocuspocusWorkUnmodified(t *testing.T) {
	dev := cluster.DevConfig{Flags: []string{"--stateless", "broadcast"}}.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "--test", "--test-force-exit", "hocuspocus.mjs")
	cmd.Dir = "node"
	cmd.Env = append(os.Environ(), "SOAK="+os.Getenv("WSNODE_SOAK"), "NATS="+dev.NATS, "WSCTL="+cluster.Binary(t, "./cmd/wsctl"),
		"NODES="+strings.Join([]string{dev.WS(cluster.EU, 0), dev.WS(cluster.EU, 1), dev.WS(cluster.US, 0)}, " "))
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	if passed := bytes.Count(output, []byte("\nok ")); passed != 6 {
		t.Errorf("%d of the tests passed, expected 6\n%s", passed, output)
	}
}
