package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Report is what the document shows.
type Report struct {
	Any, ByDocument *Simulation // the balancer sends sessions to any pod, or by document
	Healings        []healed
}

type healed struct {
	Outage
	Healing
}

// run makes the report of a deployment.
func run(d Deployment) *Report {
	r := &Report{Any: simulate(d)}
	d.ByDocument = true
	r.ByDocument = simulate(d)
	held := int(r.Any.mean(func(f *Figures) float64 { return float64(f.OpenRooms) }) / float64(d.Pods))
	for _, nodes := range []int{100, 1000} {
		for _, fixed := range []bool{false, true} {
			o := Outage{
				Nodes: nodes, Held: held * d.Shares[0] / 10, Share: nodes / 20, Reads: registryReads.Value, Writes: registryWrites.Value,
				Distance: farthest, Workers: paceMost, Fixed: fixed, Most: 15 * time.Minute, Seed: d.Seed,
			}
			r.Healings = append(r.Healings, healed{o, heal(o)})
		}
	}
	return r
}

// String is all tables as Markdown.
func (r *Report) String() string {
	var b strings.Builder
	r.writeWorld(&b)
	r.writeEnds(&b)
	r.writeCarries(&b)
	r.writeCosts(&b)
	r.writeRegistry(&b)
	r.writeRegion(&b)
	r.writePod(&b)
	r.writeFaults(&b)
	r.writeHealings(&b)
	return b.String()
}

func (r *Report) writeWorld(b *strings.Builder) {
	s := r.Any
	title(b, "What was simulated")
	head(b, "", "any pod", "by document")
	both := func(what string, value func(*Simulation) float64) {
		row(b, what, number(value(r.Any)), number(value(r.ByDocument)))
	}
	row(b, "regions, pods, license regions", fmt.Sprintf("%d, %d, %d", len(s.Regions), s.nodes(), len(s.Shares)), "the same")
	regions := float64(len(s.Regions))
	both("live documents", func(s *Simulation) float64 {
		return regions * s.mean(func(f *Figures) float64 { return float64(f.Pinned) })
	})
	both("sessions", func(s *Simulation) float64 {
		return regions * s.mean(func(f *Figures) float64 { return float64(f.Present) })
	})
	both("of them, on the fullest pod", func(s *Simulation) float64 {
		return s.mean(func(f *Figures) float64 { return float64(f.MostOnPod) })
	})
	both("documents on more than one pod", func(s *Simulation) float64 {
		return 1000 * regions * s.loaded(func(l *load) int64 { return l.Shared })
	})
	both("rooms (a document on a pod)", func(s *Simulation) float64 {
		return regions * s.mean(func(f *Figures) float64 { return float64(f.OpenRooms) })
	})
	both("sessions that begin, /s", func(s *Simulation) float64 {
		return regions * s.rate(func(f *Figures) int64 { return f.Arrived })
	})
	both("rooms that open, /s", func(s *Simulation) float64 {
		return regions * s.rate(func(f *Figures) int64 { return f.Opened })
	})
	both("documents that are claimed anew, /s", func(s *Simulation) float64 {
		return regions * s.rate(func(f *Figures) int64 { return f.Claimed })
	})
}

func (r *Report) writeCosts(b *strings.Builder) {
	title(b, "Unit costs")
	head(b, "", "figure", "from")
	for _, c := range costs {
		row(b, c.What, number(c.Value)+" "+c.Unit, c.Source)
	}
}

func (r *Report) writeRegistry(b *strings.Builder) {
	title(b, "Steady load of the largest registry, which has "+fmt.Sprint(10*r.Any.Shares[0])+" % of the documents")
	head(b, "per second", "any pod", "by document")
	part := func(what string, counter func(*Registry) []int64) {
		row(b, what, number(r.Any.steady(0, counter)), number(r.ByDocument.steady(0, counter)))
	}
	row(b, "leases renewed", number(r.Any.leases()), number(r.ByDocument.leases()))
	part("pins entered", func(r *Registry) []int64 { return r.Enters })
	part("pins left", func(r *Registry) []int64 { return r.Releases })
	part("of these, tried twice because another pod had written", func(r *Registry) []int64 { return r.Refused })
	part("backstops", func(r *Registry) []int64 { return r.Backstops })
	part("markers of expired pins", func(r *Registry) []int64 { return r.Expiries })
	mean, peak := r.Any.writes(0)
	mean2, peak2 := r.ByDocument.writes(0)
	row(b, "**writes**, mean", number(mean), number(mean2))
	row(b, "writes, busiest second", number(peak), number(peak2))
	part("**reads**, mean", func(r *Registry) []int64 { return r.Reads })
	row(b, "reads, busiest second", number(r.Any.mostReads(0)), number(r.ByDocument.mostReads(0)))
	row(b, "leases sent to watching pods", number(r.Any.leases()*float64(r.Any.Pods)), "the same")
	row(b, "looks of watches, at least", number(float64(r.Any.nodes())/watchEvery.Seconds()), "the same")
	row(b, "pins read by the regions' hourly sweeps", number(r.Any.scanned(0)), number(r.ByDocument.scanned(0)))
}

// scanned is how many pins per second are sent to regions that look for orphans:
// one node of each goes through the whole registry.
func (s *Simulation) scanned(license int) float64 {
	return s.pins(license) * float64(len(s.Regions)) / sweepEvery.Seconds()
}

// pins is how many there are in a registry.
func (s *Simulation) pins(license int) float64 {
	return s.mean(func(f *Figures) float64 { return float64(f.Pinned) }) * float64(len(s.Regions)) * float64(s.Shares[license]) / 10
}

func (r *Report) writeRegion(b *strings.Builder) {
	title(b, "Steady load of a region's NATS")
	head(b, "per second", "any pod", "by document")
	part := func(what string, part func(*load) int64) {
		row(b, what, number(r.Any.loaded(part)), number(r.ByDocument.loaded(part)))
	}
	part("updates appended to the history", func(l *load) int64 { return l.Appends })
	part("their copies to other pods", func(l *load) int64 { return l.Copies })
	part("awareness published", func(l *load) int64 { return l.Awareness })
	part("beacons published", func(l *load) int64 { return l.Beacons })
	part("copies of both to other pods", func(l *load) int64 { return l.Signals })
	row(b, "rooms opened: hello, history read", number(r.Any.rate(func(f *Figures) int64 { return f.Hellos })),
		number(r.ByDocument.rate(func(f *Figures) int64 { return f.Hellos })))
	row(b, "histories removed", number(r.Any.rate(func(f *Figures) int64 { return f.Cleanings })),
		number(r.ByDocument.rate(func(f *Figures) int64 { return f.Cleanings })))
	row(b, "documents asked for by the history's sweep", number(r.Any.asked()), number(r.ByDocument.asked()))
	row(b, "**messages in and out**", number(r.Any.messages()), number(r.ByDocument.messages()))
	row(b, "CPU, cores", number(r.Any.natsCPU()), number(r.ByDocument.natsCPU()))
	row(b, "memory: subscriptions, pins, subjects; MiB", number(r.Any.natsMemory()/(1<<20)), number(r.ByDocument.natsMemory()/(1<<20)))
}

// asked is the history's sweep: each document's rooms are asked once.
func (s *Simulation) asked() float64 {
	return s.mean(func(f *Figures) float64 { return float64(f.Pinned) }) / historySweep.Seconds()
}

func (s *Simulation) messages() float64 {
	sum := s.loaded(func(l *load) int64 { return l.Appends + l.Copies + l.Awareness + l.Beacons + l.Signals })
	sum += s.loaded(func(l *load) int64 { return l.Appends }) // acknowledgements
	sum += s.rate(func(f *Figures) int64 { return f.Hellos })*4 + s.rate(func(f *Figures) int64 { return f.Answers })*2
	return sum + s.rate(func(f *Figures) int64 { return f.Cleanings })*6 + 2*s.asked()
}

func (s *Simulation) natsCPU() float64 {
	appends := s.loaded(func(l *load) int64 { return l.Appends })
	others := s.loaded(func(l *load) int64 { return l.Awareness + l.Beacons + l.Signals })
	return (appends*appendCPU.Value + others*messageCPU.Value) / 1e6
}

func (s *Simulation) natsMemory() float64 {
	return s.mean(func(f *Figures) float64 {
		return float64(f.OpenRooms)*subscribedMemory.Value*1024 + float64(f.Pinned)*pinMemory.Value
	})
}

func (r *Report) writePod(b *strings.Builder) {
	title(b, "Steady load of a pod")
	head(b, "", "any pod", "by document, the mean pod")
	both := func(what string, value func(*Simulation) float64) {
		row(b, what, number(value(r.Any)), number(value(r.ByDocument)))
	}
	both("sessions", func(s *Simulation) float64 { return s.perPod(func(f *Figures) float64 { return float64(f.Present) }) })
	both("rooms", func(s *Simulation) float64 { return s.perPod(func(f *Figures) float64 { return float64(f.OpenRooms) }) })
	both("memory without the documents' content, MiB", func(s *Simulation) float64 { return s.podMemory() / (1 << 20) })
	both("edits written to clients, /s", func(s *Simulation) float64 {
		return s.loaded(func(l *load) int64 { return l.Deliveries }) / float64(s.Pods)
	})
	both("CPU, cores", (*Simulation).podCPU)
	both("documents given up, /s", func(s *Simulation) float64 {
		return s.rate(func(f *Figures) int64 { return f.Cleanings }) / float64(s.Pods)
	})
}

func (s *Simulation) perPod(figure func(*Figures) float64) float64 {
	return s.mean(figure) / float64(s.Pods)
}

func (s *Simulation) podMemory() float64 {
	return s.perPod(func(f *Figures) float64 {
		return 1024 * (float64(f.OpenRooms)*connectionMemory.Value + float64(f.Present-f.OpenRooms)*furtherMemory.Value)
	})
}

// podCPU is the cores of a pod that are busy: connects, edits to clients, and what
// goes to and comes from NATS.
func (s *Simulation) podCPU() float64 {
	connects := s.rate(func(f *Figures) int64 { return f.Arrived })
	deliveries := s.loaded(func(l *load) int64 { return l.Deliveries })
	messages := s.loaded(func(l *load) int64 { return 2*l.Appends + l.Copies + l.Awareness + l.Beacons + l.Signals })
	return (connects*connectCPU.Value*1000 + deliveries*deliveryCPU.Value + messages*messageCPU.Value) / 1e6 / float64(s.Pods)
}

// number writes three significant digits, thousands apart.
func number(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := int(math.Floor(math.Log10(math.Abs(v)))) + 1
	if digits < 3 {
		text := fmt.Sprintf("%.*f", min(3-digits, 3), v)
		return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	unit := math.Pow10(digits - 3)
	text := fmt.Sprintf("%.0f", math.Round(v/unit)*unit)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func title(b *strings.Builder, text string) { fmt.Fprintf(b, "\n### %s\n\n", text) }

func head(b *strings.Builder, columns ...string) {
	row(b, columns...)
	fmt.Fprintf(b, "| --- |%s\n", strings.Repeat(" --- |", len(columns)-1))
}

func row(b *strings.Builder, cells ...string) { fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | ")) }
