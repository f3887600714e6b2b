package main

import "testing"

// figures are of rounds that took so many times as long as a second, the next one a little
// longer, and allocated so often.
func figures(times, more float64, allocations ...float64) (f []figure) {
	for i, n := range allocations {
		f = append(f, figure{times * (1 + more*float64(i)), n})
	}
	return f
}

func TestVerdictSaysWhatTheRoundsCanResolve(t *testing.T) {
	eight := []float64{2, 2, 2, 2, 2, 2, 2, 2}
	for _, c := range []struct {
		name string
		row  row
		want string
	}{
		{"alike", row{figures(1, 0, eight...), figures(1, 0, eight...)}, ""},
		{"slower", row{figures(1.1, 0, eight...), figures(1, 0, eight...)}, "worse"},
		{"slower, on a machine that gets slower", row{figures(1.1, 0.5, eight...), figures(1, 0.5, eight...)}, "worse"},
		{"slower in some rounds", row{figures(0.9, 0.05, eight...), figures(1, 0, eight...)}, "unresolved"},
		{"too few rounds", row{figures(0.9, 0, eight[:4]...), figures(1, 0, eight[:4]...)}, "unresolved"},
		{"allocates more in some rounds", row{figures(1, 0, 2, 3, 2, 3, 3, 3, 3, 3), figures(1, 0, eight...)}, ""},
		{"allocates more", row{figures(1, 0, 3, 3, 3, 3, 3, 3, 3, 3), figures(1, 0, eight...)}, "allocates more"},
	} {
		if got := c.row.verdict(1.03); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
