package frontdoor

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

var peakLine = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// memory is the most bytes that the node has had in RAM so far; 0 where the system does
// not say.
func memory(t *testing.T, node *cluster.Node) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", node.PID()))
	if os.IsNotExist(err) {
		return 0
	}
	must(t, err)
	found := peakLine.FindSubmatch(status)
	if found == nil {
		t.Fatalf("no VmHWM in\n%s", status)
	}
	kib, err := strconv.ParseInt(string(found[1]), 10, 64)
	must(t, err)
	return kib << 10
}

// openFiles is how many files and sockets the node has open; 0 where the system does not
// say.
func openFiles(t *testing.T, node *cluster.Node) int {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", node.PID()))
	if os.IsNotExist(err) {
		return 0
	}
	must(t, err)
	return len(files)
}
