// Package e2e checks the contract from outside: real clients of the npm
// packages yjs and y-websocket against real processes. Each test's name is a
// sentence of the contract.
package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

// libraries are the major versions of y-websocket that must work.
var libraries = []int{3, 2}

// eachLibrary runs a test with each version of y-websocket, all of them against
// the same nodes; document differs between them.
func eachLibrary(t *testing.T, run func(t *testing.T, library int, document string)) {
	t.Helper()
	for _, library := range libraries {
		name := fmt.Sprintf("y-websocket-%d", library)
		t.Run(name, func(t *testing.T) { run(t, library, "doc-"+name) })
	}
}

// on are the options of a client that connects to one node of a dev cluster.
func on(dev *cluster.Dev, region, node int, token, document string) yjs.Options {
	return yjs.Options{URL: dev.WS(region, node), Document: document, Token: token}
}
