// Package frontdoor checks what stands between the internet and the documents,
// from outside: hostile sockets, storms, deploys and races for the last place,
// against real processes.
package frontdoor

import (
	"fmt"
	"os"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

func TestMain(m *testing.M) {
	if told := os.Getenv(abusersVariable); told != "" {
		if err := abusersMain(told); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(cluster.Main(m))
}

// soakVariable, when not empty, makes the tests as large as their contract says.
const soakVariable = "WSNODE_SOAK"

func soak() bool { return os.Getenv(soakVariable) != "" }
