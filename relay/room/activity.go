package room

// activity is how much members edit. Its rate is of edits per second, and is that of the
// last about five seconds as long as tick is called every tickEvery. Guarded by Room.mu.
type activity struct {
	edits int64 // from members, since the room was opened
	rated int64 // of them those that are in rate
	rate  float64
}

// rateShare is the share of the last tick in the rate: ticks fade away.
const rateShare = 0.1

func (a *activity) edited() { a.edits++ }

func (a *activity) tick() {
	a.rate += rateShare * (float64(a.edits-a.rated)/tickEvery.Seconds() - a.rate)
	a.rated = a.edits
}
