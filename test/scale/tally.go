package main

// Tally is what registries and NATS had to do, counted by the second.
type Tally struct {
	Seconds    int
	Registries []Registry
}

// Registry is the load on one registry. Each slice has an entry per second.
type Registry struct {
	Enters    []int64 // a node writes itself into a pin; a claim is one of them
	Releases  []int64 // a node takes itself out
	Refused   []int64 // a release that others' writes had overtaken; it is read and tried again
	Backstops []int64 // a pin is written again to lengthen its expiry
	Orphans   []int64 // a pin whose holders are gone is given its grace period
	Expiries  []int64 // the server's own: the marker that an expired pin leaves
	Reads     []int64
}

func newTally(registries, seconds int) *Tally {
	t := &Tally{Seconds: seconds, Registries: make([]Registry, registries)}
	for i := range t.Registries {
		for _, counter := range t.Registries[i].counters() {
			*counter = make([]int64, seconds)
		}
	}
	return t
}

func (r *Registry) counters() []*[]int64 {
	return []*[]int64{&r.Enters, &r.Releases, &r.Refused, &r.Backstops, &r.Orphans, &r.Expiries, &r.Reads}
}

// writes are all that nodes send in one second, without the leases.
func (r *Registry) writes(second int) int64 {
	return r.Enters[second] + r.Releases[second] + r.Refused[second] + r.Backstops[second] + r.Orphans[second]
}

func (t *Tally) add(other *Tally) {
	for i := range t.Registries {
		mine, theirs := t.Registries[i].counters(), other.Registries[i].counters()
		for k := range mine {
			for second, n := range *theirs[k] {
				(*mine[k])[second] += n
			}
		}
	}
}

// span is the mean and the greatest value over some seconds.
func span(from, to int, value func(second int) int64) (mean, peak float64) {
	var sum, most int64
	for second := from; second < to; second++ {
		v := value(second)
		sum += v
		most = max(most, v)
	}
	return float64(sum) / float64(to-from), float64(most)
}
