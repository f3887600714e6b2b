package wsctl

import (
	"strings"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

func TestASessionsEndIsOneLineAndADayWithoutTroubleWarnsOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.join(w.eu1, "todo", "milk")
	bob := w.join(w.eu2, "todo", "")
	bob.WaitText("milk")
	cluster.Shake(t, w.us1.Addr, "/todo?token="+w.token, nil)                // redirected
	cluster.Shake(t, w.eu1.Addr, "/todo?token="+w.mint("--ttl", "-1h"), nil) // refused
	ann.Destroy()
	ended := func(line string) bool { return strings.Contains(line, `msg="session ended"`) }
	w.eu1.WaitLine(ended)
	bob.Destroy()
	w.eu2.WaitLine(ended)

	lines := 0
	for line := range strings.Lines(w.eu1.Output()) {
		if !ended(line) {
			continue
		}
		lines++
		for _, part := range []string{
			"level=INFO", "document=" + todo, "code=", "reason=", "by_node=false", "remote=127.0.0.1:", "user_agent=",
			"session=", "seconds=", "frames_in=", "frames_out=", "bytes_in=", "bytes_out=",
		} {
			if !strings.Contains(line, part) {
				t.Errorf("a session's end without %s: %s", part, line)
			}
		}
	}
	if lines != 1 {
		t.Errorf("%d lines tell of one session", lines)
	}
	for _, n := range []*cluster.Node{w.eu1, w.eu2, w.us1} {
		for line := range strings.Lines(n.Output()) {
			if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
				t.Errorf("wakes somebody for nothing: %s", line)
			}
		}
	}
}
