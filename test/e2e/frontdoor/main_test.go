// Package frontdoor checks what stands between the internet and the documents,
// from outside: hostile sockets, storms, deploys and races for the last place,
// against real processes.
package frontdoor

import (
	"os"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

// soakVariable, when not empty, makes the tests as large as their contract says.
const soakVariable = "WSNODE_SOAK"

func soak() bool { return os.Getenv(soakVariable) != "" }
