package main

import (
	"runtime"
	"sync"
)

// Simulation is a deployment and what came of it.
type Simulation struct {
	Deployment
	Tally   *Tally
	Regions []Figures
	// The tallies of the two regions that are struck.
	PodDied, RegionRestarted *Tally
}

// simulate runs all regions. They share nothing but the registries, whose load is
// added up, so they may run at the same time: what comes out depends on the seed
// alone.
func simulate(d Deployment) *Simulation {
	s := &Simulation{Deployment: d, Regions: make([]Figures, d.Regions)}
	c := newCatalogue(d)
	tallies := make([]*Tally, d.Regions)
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	var running sync.WaitGroup
	for id := range d.Regions {
		turns <- struct{}{}
		running.Go(func() {
			r := newRegion(d, c, id)
			r.run()
			s.Regions[id], tallies[id] = r.Figures, r.tally
			<-turns
		})
	}
	running.Wait()
	s.PodDied, s.RegionRestarted = tallies[0], tallies[min(1, d.Regions-1)]
	s.Tally = newTally(len(d.Shares), tallies[0].Seconds)
	for _, t := range tallies {
		s.Tally.add(t)
	}
	return s
}

// calm is the time before the faults, when the first releases are under way.
const calm = 15

// steady is the mean per second of one of a registry's counters while all is well.
func (s *Simulation) steady(license int, counter func(*Registry) []int64) float64 {
	values := counter(&s.Tally.Registries[license])
	mean, _ := span(calm, s.struck(), func(second int) int64 { return values[second] })
	return mean
}

func (s *Simulation) struck() int { return min(int(faultAt.Seconds()), s.Tally.Seconds) }

// writes are the mean and the peak of all that a registry has to write while all is
// well: what nodes send, its own markers, and the leases.
func (s *Simulation) writes(license int) (mean, peak float64) {
	r := &s.Tally.Registries[license]
	mean, peak = span(calm, s.struck(), func(second int) int64 { return r.writes(second) + r.Expiries[second] })
	return mean + s.leases(), peak + s.leases()
}

// mostReads is the busiest second's while all is well.
func (s *Simulation) mostReads(license int) float64 {
	r := &s.Tally.Registries[license]
	_, peak := span(calm, s.struck(), func(second int) int64 { return r.Reads[second] })
	return peak
}

// leases are the renewals per second in each registry: every node renews one.
func (s *Simulation) leases() float64 {
	return float64(s.Deployment.Regions*s.Pods) / renewEvery.Seconds()
}

func (s *Simulation) nodes() int { return s.Deployment.Regions * s.Pods }

// mean is the mean of a figure over the regions that nothing befell.
func (s *Simulation) mean(figure func(*Figures) float64) float64 {
	var sum float64
	unhurt := s.Regions[min(2, len(s.Regions)-1):]
	for i := range unhurt {
		sum += figure(&unhurt[i])
	}
	return sum / float64(len(unhurt))
}

// loaded is the mean of a part of the load on a region, per second.
func (s *Simulation) loaded(part func(*load) int64) float64 {
	return s.mean(func(f *Figures) float64 {
		mean, _ := span(calm, s.struck(), func(second int) int64 { return part(&f.Load[second]) })
		return mean / 1000
	})
}

// rate is the mean per second of something that a region counted.
func (s *Simulation) rate(count func(*Figures) int64) float64 {
	return s.mean(func(f *Figures) float64 { return float64(count(f)) / s.Window.Seconds() })
}
