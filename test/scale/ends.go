package main

import (
	"fmt"
	"strings"
	"time"
)

func (r *Report) writeFaults(b *strings.Builder) {
	title(b, "Faults, any pod: the busiest second of a registry, and after how long its load is ordinary again")
	head(b, "", "pins entered", "reads", "ordinary after")
	fault := func(what string, t *Tally) {
		registry := &t.Registries[0]
		at := int(faultAt.Seconds())
		_, enters := span(at, t.Seconds, func(second int) int64 { return registry.Enters[second] })
		_, reads := span(at, t.Seconds, func(second int) int64 { return registry.Reads[second] })
		_, ordinary := span(calm, at, func(second int) int64 { return registry.Enters[second] })
		last := at
		for second := at; second < t.Seconds; second++ {
			if float64(registry.Enters[second]) > 2*ordinary {
				last = second + 1
			}
		}
		row(b, what, number(enters)+" /s", number(reads)+" /s", (time.Duration(last-at) * time.Second).String())
	}
	fault("a pod dies; its clients dial again", r.Any.PodDied)
	fault(fmt.Sprintf("all %d pods of a region die and are back after %s", r.Any.Pods, backAfter), r.Any.RegionRestarted)
}

func (r *Report) writeHealings(b *strings.Builder) {
	title(b, "A registry comes back after all leases have run out")
	head(b, "nodes, pins of this registry on each", "pins a node goes through at once", "half validated after", "99 %", "all", "leases lost again", "requests in vain")
	for _, h := range r.Healings {
		pace := fmt.Sprintf("%d to %d, as answers come", paceFirst, h.Workers)
		if h.Fixed {
			pace = fmt.Sprintf("always %d", h.Workers)
		}
		row(b, fmt.Sprintf("%d, %s", h.Nodes, number(float64(h.Held))), pace, h.after(h.Half), h.after(h.Nearly), h.after(h.All),
			fmt.Sprint(h.LeasesLost*h.Share), number(100*float64(h.InVain)/float64(h.Requests))+" %")
	}
}

func (h healed) after(d time.Duration) string {
	if d == 0 {
		return fmt.Sprintf("not within %s", h.Most)
	}
	return d.Round(time.Second).String()
}

// writeEnds lists how much of each resource the deployment uses. What is used most
// ends first.
func (r *Report) writeEnds(b *strings.Builder) {
	title(b, "Which resource ends first")
	head(b, "resource", "carries", "used, any pod", "used, by document")
	used := func(what, carries string, share func(*Simulation) float64) {
		row(b, what, carries, percent(share(r.Any)), percent(share(r.ByDocument)))
	}
	used("largest registry: writes", number(registryWrites.Value)+" /s", func(s *Simulation) float64 {
		mean, _ := s.writes(0)
		return mean / registryWrites.Value
	})
	used("largest registry: reads", number(registryReads.Value)+" /s", func(s *Simulation) float64 {
		return s.steady(0, func(r *Registry) []int64 { return r.Reads }) / registryReads.Value
	})
	used("largest registry: sweeps, of one core", number(registryScan.Value)+" pins/s", func(s *Simulation) float64 { return s.scanned(0) / registryScan.Value })
	used("each registry: watches", number(maxWatches), func(s *Simulation) float64 { return float64(s.nodes()) / maxWatches })
	used("region: appends, one history stream", number(appendsPerStream.Value)+" /s", func(s *Simulation) float64 {
		return s.loaded(func(l *load) int64 { return l.Appends }) / appendsPerStream.Value
	})
	used("region: CPU of NATS", fmt.Sprintf("%d cores", natsCores), func(s *Simulation) float64 { return s.natsCPU() / natsCores })
	used("pod: CPU", fmt.Sprintf("%d cores", podCores), func(s *Simulation) float64 { return s.podCPU() / podCores })
	used("pod: memory, without documents' content", fmt.Sprintf("%.0f %% of %d GiB", 100*podFull, podMemory>>30), func(s *Simulation) float64 {
		return s.podMemory() / (podFull * podMemory)
	})
}

// writeCarries says how much of what it is for one of each carries, until what it
// has least of is used up.
func (r *Report) writeCarries(b *strings.Builder) {
	title(b, "What one of each carries, at this use")
	head(b, "", "ends by", "any pod", "by document")
	both := func(what, by string, value func(*Simulation) float64) {
		row(b, what, by, number(value(r.Any)), number(value(r.ByDocument)))
	}
	both("a registry: live documents", "writes", func(s *Simulation) float64 {
		mean, _ := s.writes(0)
		return s.pins(0) * (registryWrites.Value - s.leases()) / (mean - s.leases())
	})
	both("a region with one history stream: live documents", "appends", func(s *Simulation) float64 {
		return s.mean(func(f *Figures) float64 { return float64(f.Pinned) }) * appendsPerStream.Value / s.loaded(func(l *load) int64 { return l.Appends })
	})
	both("a pod: sessions", "CPU, at 80 %", func(s *Simulation) float64 {
		return s.perPod(func(f *Figures) float64 { return float64(f.Present) }) * podFull * podCores / s.podCPU()
	})
	both("a pod: idle sessions", "memory, at 80 %", func(s *Simulation) float64 {
		return s.perPod(func(f *Figures) float64 { return float64(f.Present) }) * podFull * podMemory / s.podMemory()
	})
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }
