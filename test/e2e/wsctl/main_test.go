// Package wsctl checks every command of wsctl from outside, against three real
// nodes in two regions and real clients, and runs what docs/operations.md tells
// operators to type.
package wsctl

import (
	"os"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }
