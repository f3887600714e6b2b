package preflight

import (
	"time"
)

// Clocks further apart than this are found. Leases and grace periods end by the clock of
// a stream's leader, tokens by that of the node.
const (
	clockWeak  = time.Second
	clockWrong = 5 * time.Second // half a lease time
)

// clock judges how far a clock is off this machine's, give or take what is uncertain.
func (r *report) clock(check, whose string, off, uncertain time.Duration) {
	const mend = "keep the clocks of all machines by NTP; if it is this machine's that is wrong, that one"
	surely := off.Abs() - uncertain
	result := OK
	switch {
	case surely > clockWrong:
		result = Wrong
	case surely > clockWeak:
		result = Weak
	}
	r.add(check, result, mend, "%s is %s off this machine's, ±%s", whose, off.Round(time.Millisecond), uncertain.Round(10*time.Microsecond))
	r.measured(map[string]float64{"offMs": inMS(off), "uncertainMs": inMS(uncertain)})
}

// Now tells the time; nil is the machine's clock.
type Now func() time.Time

func (n Now) now() time.Time {
	if n == nil {
		return time.Now()
	}
	return n()
}
