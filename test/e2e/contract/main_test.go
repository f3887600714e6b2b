// Package contract goes through the tables of the contract with clients, row by
// row and from outside: real sockets against real processes, with exact codes and
// reasons. What needs real Yjs clients is in the package above.
package contract

import (
	"os"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }
