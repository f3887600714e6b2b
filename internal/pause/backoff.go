package pause

import "time"

// Backoff paces one who is taken in each time that he comes, and sent away again. Who stays
// comes back at once. The zero value of what is not exported is ready.
type Backoff struct {
	First, Most time.Duration // of the pauses; who stays as long as the longest is not paced

	in   time.Time
	last time.Duration
}

// In notes that he was taken in.
func (b *Backoff) In() { b.in = time.Now() }

// Next is how long he should wait before he comes back, now that he was sent away.
func (b *Backoff) Next() time.Duration {
	if b.in.IsZero() || time.Since(b.in) >= b.Most {
		b.last = 0
		return 0
	}
	b.last = min(max(2*b.last, b.First), b.Most)
	return b.last
}
