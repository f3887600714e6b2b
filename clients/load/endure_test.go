package load

import (
	"context"
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
			const drops = 3
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			over := make(chan struct{})
			go func() {
				defer close(over)
				for dropped := 0; relay.waitUntilTyping(ctx, 6) == nil && dropped < drops; dropped++ {
					relay.drop()
				}
			}()
			defer func() {
				cancel()
				<-over
			}()
			result, err := r.Endure(t.Context(), "test", EndureOptions{Docs: 2, Clients: 3, Rate: 300, Until: over, Settle: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if ctx.Err() != nil {
				t.Fatal("the clients did not type again within two minutes")
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
