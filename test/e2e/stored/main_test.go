// Package stored holds documents that outlive their users to what operators and
// clients are promised: real y-websocket clients, real processes, each backend.
package stored

import (
	"os"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }
