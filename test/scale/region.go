package main

import (
	"math/bits"
	"math/rand/v2"
	"time"
)

// step is the grain of the simulation.
const step = 100 * time.Millisecond

const maxPods = 16

// document is one document of a region's catalogue.
type document struct {
	sessions [maxPods]uint16
	all      uint32         // of them
	serial   [maxPods]uint8 // counts how often a pod's last session left
	open     uint16         // pods that have the room and hold the pin
	dead     uint16         // pods that died as holders
	known    uint16         // holders that know the pin's revision
	old      uint16         // holders since before the simulation
	pinned   bool
	orphan   bool // all its holders died
	lives    uint8
}

// event is something that happens to a document on a pod.
type event struct {
	doc  uint32
	kind kind
	pod  uint8
	mark uint8 // what must still be so for the event to count
}

type kind uint8

const (
	visit   kind = iota // a session begins
	depart              // a session ends
	release             // the pod gives the document up
	expire              // the pin's grace period ends
	renew               // the pin's expiry wants lengthening
	clean               // the document's history is removed
)

// region simulates one region.
type region struct {
	Deployment
	catalogue *catalogue
	id        int
	random    *rand.Rand
	docs      []document
	wheel     [][]event // by step
	now       int       // step
	next      float64   // of the next visit, in steps
	pods      []pod
	tally     *Tally
	load      load
	Figures
}

type pod struct {
	up       bool
	born     uint8 // how often it has started
	sessions int
	rooms    int
}

// Figures is what a region had to do by the end of the simulation.
type Figures struct {
	Arrived, Left, Present       int64 // sessions
	Opened, Closed, OpenRooms    int64 // rooms on pods
	Claimed, Unpinned, Pinned    int64 // lives of documents
	Reloads                      int64 // sessions that came back at once
	Began, BeganRooms, BeganPins int64 // at the beginning
	Hellos, Answers, Cleanings   int64
	Load                         []load // by second
	MostOnPod                    int    // sessions
}

// newRegion makes a region as it is after it has run for a long time.
func newRegion(d Deployment, c *catalogue, id int) *region {
	steps := int(d.Window / step)
	r := &region{
		Deployment: d, catalogue: c, id: id, random: rand.New(rand.NewPCG(d.Seed, uint64(id))),
		docs: make([]document, len(c.audience)), wheel: make([][]event, steps), pods: make([]pod, d.Pods),
		tally: newTally(len(d.Shares), steps/int(time.Second/step)),
	}
	for i := range r.pods {
		r.pods[i].up = true
	}
	for i := range r.docs {
		r.people(uint32(i))
	}
	r.Began, r.BeganRooms, r.BeganPins = r.Present, r.OpenRooms, r.Pinned
	r.advance()
	return r
}

// people gives a document the sessions that it has at the beginning. Exponential
// stays forget their past, so what is left of them is as long as new ones.
func (r *region) people(i uint32) {
	d := &r.docs[i]
	for left := r.random.ExpFloat64(); left < r.catalogue.audience[i]; left += r.random.ExpFloat64() {
		p := r.podFor(i)
		if d.sessions[p] == 0 {
			d.open |= 1 << p
			r.pods[p].rooms++
			r.OpenRooms++
		}
		r.sit(d, i, p)
	}
	if d.open == 0 {
		return
	}
	d.pinned, d.old = true, d.open
	r.Pinned++
	last := r.random.IntN(bits.OnesCount16(d.open))
	for p := range r.Pods {
		if d.open>>p&1 == 0 {
			continue
		}
		if last--; last == -1 && (r.ByDocument || r.random.Float64() < lastWriterStays) {
			d.known = 1 << p
		}
		r.ageHold(i, p)
	}
	r.load.add(r.loadOf(d))
}

// lastWriterStays is the share of the documents whose pin was last written by a pod
// that still holds it, once a region has run for an hour.
const lastWriterStays = 0.62

// ageHold puts the next renewal of a hold's backstop where it would be: a hold is
// about as old as the audience keeps a pod busy, and renewed in a rhythm since.
func (r *region) ageHold(i uint32, p int) {
	busy := r.catalogue.audience[i] / float64(r.Pods)
	age := r.random.ExpFloat64() * float64(r.Stay) * busyTime(busy)
	every := float64(backstop) / 2 * (0.75 + 0.25*r.random.Float64())
	if age > every { // the phase of a rhythm that began long ago
		age = every * r.random.Float64()
	}
	r.after(time.Duration(every-age), event{i, renew, uint8(p), r.pods[p].born})
}

// busyTime is how long sessions follow each other without a gap, in stays.
func busyTime(audience float64) float64 {
	term, sum := 1.0, 1.0
	for n := 2; n < 40; n++ { // (e^a - 1) / a, which need not be exact where it is large
		term *= audience / float64(n)
		sum += term
	}
	return sum
}

// after schedules an event, unless the simulation has ended by then.
func (r *region) after(d time.Duration, e event) {
	if at := r.now + max(int(d/step), 1); at < len(r.wheel) {
		r.wheel[at] = append(r.wheel[at], e)
	}
}

func (r *region) exponential(mean time.Duration) time.Duration {
	return time.Duration(r.random.ExpFloat64() * float64(mean))
}

// advance draws the time of the next visit.
func (r *region) advance() {
	rate := r.catalogue.total / float64(r.Stay/step)
	r.next += r.random.ExpFloat64() / rate
}

// run simulates the window.
func (r *region) run() {
	perSecond := int(time.Second / step)
	for r.now = range r.wheel {
		r.faults()
		for r.next < float64(r.now+1) {
			r.visit(r.draw())
			r.advance()
		}
		for _, e := range r.wheel[r.now] {
			r.happen(e)
		}
		r.wheel[r.now] = nil
		if r.now%perSecond == perSecond-1 {
			r.Load = append(r.Load, r.load)
			for p := range r.pods {
				r.MostOnPod = max(r.MostOnPod, r.pods[p].sessions)
			}
		}
	}
}

func (r *region) draw() uint32 {
	i := r.random.IntN(len(r.docs))
	if r.random.Float64() < r.catalogue.keep[i] {
		return uint32(i)
	}
	return r.catalogue.other[i]
}

func (r *region) happen(e event) {
	d := &r.docs[e.doc]
	switch e.kind {
	case visit:
		r.visit(e.doc)
	case depart:
		if e.mark == r.pods[e.pod].born {
			r.depart(d, e.doc, int(e.pod))
		}
	case release:
		if e.mark == d.serial[e.pod] && d.open>>e.pod&1 == 1 && d.sessions[e.pod] == 0 {
			r.release(d, e.doc, int(e.pod))
		}
	case expire:
		if e.mark == d.lives && d.pinned && d.open == 0 {
			r.expire(d, e.doc)
		}
	case renew:
		if e.mark == r.pods[e.pod].born && d.old>>e.pod&1 == 1 {
			r.renew(d, e.doc, int(e.pod))
		}
	case clean:
		r.Cleanings++
		r.count(e.doc).read(1)
	}
}

// counts adds to the tally of a document's registry in this second.
type counts struct {
	registry *Registry
	second   int
}

func (r *region) count(i uint32) counts {
	return counts{&r.tally.Registries[r.license(i)], r.now / int(time.Second/step)}
}

func (c counts) read(n int64) { c.registry.Reads[c.second] += n }

// license is the index of a document's license region: independent of how popular
// the document is.
func (r *region) license(i uint32) int {
	tenth := int((uint64(i)*7919 + uint64(r.id)) % 10)
	for license, share := range r.Shares {
		if tenth -= share; tenth < 0 {
			return license
		}
	}
	panic("the shares are not ten tenths")
}

// visit is a session that begins, on any pod of the region.
func (r *region) visit(i uint32) {
	d, c := &r.docs[i], r.count(i)
	p := r.podFor(i)
	if !r.pods[p].up {
		if p = r.someoneUp(); p < 0 { // nobody is: the client tries again
			r.after(time.Duration(r.random.Float64()*float64(retryMost)), event{doc: i, kind: visit})
			return
		}
	}
	if r.random.Float64() < r.Discovery {
		c.read(1)
		if d.open != 0 && r.random.Float64() < r.Astray {
			c.read(1) // a holder's lease, which only its own region watches
		}
	}
	before := r.loadOf(d)
	if d.open>>p&1 == 0 {
		r.enter(d, i, p)
	}
	d.serial[p]++ // a release that was due is not
	r.sit(d, i, p)
	r.load.sub(before)
	r.load.add(r.loadOf(d))
	r.Arrived++
}

// podFor is where the balancer sends a session.
func (r *region) podFor(i uint32) int {
	if r.ByDocument {
		return int(i) % r.Pods
	}
	return r.random.IntN(r.Pods)
}

// someoneUp is a pod that runs, -1 if none does.
func (r *region) someoneUp() int {
	for p := range r.pods {
		if r.pods[p].up {
			return p
		}
	}
	return -1
}

// sit begins a session on a pod that has the document.
func (r *region) sit(d *document, i uint32, p int) {
	d.sessions[p]++
	d.all++
	r.pods[p].sessions++
	r.Present++
	r.after(r.exponential(r.Stay), event{i, depart, uint8(p), r.pods[p].born})
}

// enter is kvpin.Hold and room.Open: the pin is read and written, the history is
// read, the rooms of other pods are greeted.
func (r *region) enter(d *document, i uint32, p int) {
	c := r.count(i)
	c.read(1)
	c.registry.Enters[c.second]++
	if !d.pinned {
		d.pinned = true
		r.Claimed++
		r.Pinned++
	}
	r.Hellos++
	r.Answers += int64(bits.OnesCount16(d.open))
	d.open |= 1 << p
	d.dead &^= 1 << p
	d.known = 1 << p
	d.orphan = false
	d.lives++ // an expiry that was due is not
	r.pods[p].rooms++
	r.Opened++
	r.OpenRooms++
}

// depart is a session that ends. Some come back at once: a page was reloaded.
func (r *region) depart(d *document, i uint32, p int) {
	before := r.loadOf(d)
	d.sessions[p]--
	d.all--
	r.pods[p].sessions--
	r.Present--
	r.Left++
	r.load.sub(before)
	r.load.add(r.loadOf(d))
	if r.random.Float64() < r.Reload {
		r.Reloads++
		r.after(step+time.Duration(r.random.Float64()*float64(time.Second)), event{doc: i, kind: visit})
	}
	if d.sessions[p] == 0 {
		d.serial[p]++
		r.after(releaseDelay, event{i, release, uint8(p), d.serial[p]})
	}
}

// release is kvpin.Hold.Release and room.Close. Who wrote the pin last knows its
// revision and writes at once; the write of another is refused, read and repeated.
func (r *region) release(d *document, i uint32, p int) {
	c := r.count(i)
	if d.known>>p&1 == 0 {
		c.registry.Refused[c.second]++
		c.read(1)
	}
	c.registry.Releases[c.second]++
	r.shut(d, p)
	d.known, d.dead = 0, 0
	if d.open == 0 {
		r.fade(d, i, grace-releaseDelay)
	}
}

// shut ends a room.
func (r *region) shut(d *document, p int) {
	before := r.loadOf(d)
	d.open &^= 1 << p
	d.old &^= 1 << p
	r.pods[p].rooms--
	r.Closed++
	r.OpenRooms--
	r.load.sub(before)
	r.load.add(r.loadOf(d))
}

// fade starts what is left of a pin's grace period.
func (r *region) fade(d *document, i uint32, rest time.Duration) {
	d.lives++
	r.after(rest+lateExpiry, event{i, expire, 0, d.lives})
}

// expire is the end of a pin: the server leaves a marker, and the node that was
// the last holder removes the history.
func (r *region) expire(d *document, i uint32) {
	c := r.count(i)
	c.registry.Expiries[c.second]++
	d.pinned, d.orphan = false, false
	r.Pinned--
	r.Unpinned++
	r.after(1500*time.Millisecond-lateExpiry, event{doc: i, kind: clean})
}

// renew is kvpin.renewPin: who finds that another wrote the pin since leaves it at
// a look. The next is far beyond the window.
func (r *region) renew(d *document, i uint32, p int) {
	c := r.count(i)
	c.read(1)
	if d.known>>p&1 == 1 {
		c.registry.Backstops[c.second]++
		d.known = 1 << p
		return
	}
	d.known |= 1 << p
}
