package load

import (
	"testing"
	"time"
)

func TestEndureNoticesWhatIsLostWhenClientsComeBack(t *testing.T) {
	for _, c := range []struct {
		fault   string
		noticed func(Faults) bool
	}{
		{"", func(f Faults) bool { return !f.Any() }},
		{"keep", func(f Faults) bool { return f.Lost > 0 }}, // what was typed offline stays with the server
		{"forget", func(f Faults) bool { return f.TextsDiffer > 0 }},
	} {
		t.Run("fault "+or(c.fault, "none"), func(t *testing.T) {
			t.Parallel()
			relay := startTestRelay(t, c.fault)
			r := relay.runner(t)
			r.drainLimit = time.Second
			over := make(chan struct{})
			go func() {
				defer close(over)
				for range 3 {
					relay.waitUntilTyping(6)
					relay.drop()
				}
				relay.waitUntilTyping(6)
			}()
			result, err := r.Endure(t.Context(), "test", EndureOptions{Docs: 2, Clients: 3, Rate: 300, Until: over, Settle: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if !c.noticed(result.Faults) {
				t.Errorf("faults: %v", result.Faults)
			}
			if returns, _ := result.Value("returns"); returns != 18 {
				t.Errorf("%.0f returns, want those of 6 clients, 3 times", returns)
			}
			if offline, _ := result.Value("offline p50"); offline < 90 {
				t.Errorf("offline for %.0f ms, want more than the 100 that y-websocket pauses", offline)
			}
		})
	}
}
