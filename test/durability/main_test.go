// Package durability shows that nothing is lost: what JetStream acknowledged
// survives every process, large updates and documents arrive, and what documents
// leave behind is bounded.
package durability

import (
	"os"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }
