// Package providers drives the providers that people have, unmodified, against a
// cluster: with y-websocket's wire they need nothing else.
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

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

func TestProvidersOfOthersWorkUnmodified(t *testing.T) {
	dev := cluster.StartDev(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "--test", "--test-force-exit", "providers.mjs")
	cmd.Dir = "node"
	cmd.Env = append(os.Environ(), "TOKEN="+dev.Token(),
		"NODES="+strings.Join([]string{dev.WS(cluster.EU, 0), dev.WS(cluster.EU, 1), dev.WS(cluster.US, 0)}, " "))
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	if passed := bytes.Count(output, []byte("\nok ")); passed != 8 {
		t.Errorf("%d providers passed, expected 8\n%s", passed, output)
	}
}
