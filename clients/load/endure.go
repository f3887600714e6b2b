package load

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// EndureOptions say who types while the servers go through something.
type EndureOptions struct {
	Docs, Clients int             // of each document
	Rate          int             // edits per second over all documents
	Until         <-chan struct{} // closed when it is over
	Settle        time.Duration   // how long clients may take after that until all have everything
	Ready         func()          // called when all are connected and the typing begins; may be nil
}

// Endure types at a steady rate until it is told to stop. Whoever is disconnected goes on
// typing offline and comes back as y-websocket does, to any of the nodes that take
// connections, as a balancer without health checks sends it there; what it typed meanwhile
// comes along. Whoever is redirected goes where it is sent, if that is a node of the target. In the end everybody must have every edit, and so must one who joins then.
func (r *Runner) Endure(ctx context.Context, name string, o EndureOptions) (Result, error) {
	result := Result{Scenario: name, Target: r.Target.Name}
	c := r.newCrowd(name, o.Docs, o.Clients)
	defer c.hangUp()
	fail := func(err error) (Result, error) { return result, fmt.Errorf("%s: %w", name, err) }
	for _, one := range c.clients {
		one.returns = true
	}
	if err := c.connect(ctx, 50); err != nil {
		return fail(err)
	}
	if o.Ready != nil {
		o.Ready()
	}
	a := attendance{crowd: c, away: make([]absence, len(c.clients)), offline: newHistogram(), seconds: map[int64]int{}}
	c.board.from = r.loop.now()
	a.typeUntil(ctx, o)
	settle := r.loop.now()
	err := r.wait(ctx, o.Settle, "settle", func() bool {
		a.bringBack()
		return a.absent == 0 && c.missing() == 0
	})
	if ctx.Err() != nil {
		return fail(err)
	}
	c.board.same.Merge(c.board.across) // who comes back may do so on another node
	result.add("edits", "", float64(c.board.sent))
	result.add("deliveries", "", float64(c.board.delivered))
	result.Values = append(result.Values, latency("latency", c.board.same)...)
	result.add("returns", "", float64(a.offline.TotalCount()))
	result.add("returns in the busiest second", "", float64(a.busiest()))
	result.add("attempts that failed", "", float64(a.failed))
	result.Values = append(result.Values, latency("offline", a.offline)...)
	result.add("settled after", "ms", float64(r.loop.now()-settle)/1e6)
	result.Faults = c.board.faults(c.missing())
	result.Faults.Disconnected = a.absent
	if err != nil {
		result.Faults.Notes = append(result.Faults.Notes, err.Error())
	}
	return result, c.verify(ctx, &result.Faults)
}

// attendance is who of a crowd is there, and sees to all being back soon.
type attendance struct {
	*crowd
	away    []absence // by client
	absent  int
	failed  int // attempts to come back that ended before they were synced
	offline *hdrhistogram.Histogram
	seconds map[int64]int // how many came back, by second
	checked int64
}

// absence is how long a client has been offline.
type absence struct {
	since    int64 // 0: it is there
	redial   int64 // when it tries next; 0: it is trying
	failures int   // connects in a row that no node took
	step     int   // from the node tried last to the next
}

// typeUntil types until the options say so, and brings clients back meanwhile.
func (a *attendance) typeUntil(ctx context.Context, o EndureOptions) {
	r := a.runner
	start, report := r.loop.now(), r.loop.now()+int64(time.Second)
	for i := 0; ctx.Err() == nil; {
		select {
		case <-o.Until:
			return
		default:
		}
		now := r.loop.now()
		due := start + int64(i)*int64(time.Second)/int64(o.Rate)
		if now >= due {
			// Documents take turns; who types in them is drawn.
			a.clients[i%o.Docs*o.Clients+r.random.IntN(o.Clients)].edit()
			if i++; i%8 != 0 {
				continue
			}
			due = now
		}
		a.bringBack()
		r.loop.poll(min(due, now+int64(attendanceCheck)))
		if now >= report {
			r.progress("%s: %d edits, %d deliveries, %d clients offline", a.docs[0].name, a.board.sent, a.board.delivered, a.absent)
			report = now + int64(time.Second)
		}
	}
}

// attendanceCheck is how often a crowd is looked over.
const attendanceCheck = 5 * time.Millisecond

// The pauses of y-websocket: they double with each attempt that opens no WebSocket.
const (
	firstPause = 100 * time.Millisecond
	longPause  = 2500 * time.Millisecond
)

// bringBack notes who has been disconnected and who is back, and dials for whoever has
// paused long enough.
func (a *attendance) bringBack() {
	now := a.runner.loop.now()
	if now-a.checked < int64(attendanceCheck) {
		return
	}
	a.checked = now
	for i, one := range a.clients {
		gone := &a.away[i]
		switch {
		case one.err == nil && gone.since == 0: // there
		case one.err == nil && one.synced > 0:
			_ = a.offline.RecordValue(max(one.synced-gone.since, 1000) / 1000)
			a.seconds[one.synced/int64(time.Second)]++
			a.absent--
			*gone = absence{}
		case one.err == nil: // trying
		default:
			if gone.redial == 0 {
				a.ended(one, gone)
			}
			if now < gone.redial {
				continue
			}
			gone.redial = 0
			one.node = (one.node + gone.step) % len(a.runner.Target.nodes)
			one.dial()
		}
	}
}

// ended notes that a connection, or an attempt to get one, has ended.
func (a *attendance) ended(one *client, gone *absence) {
	if gone.since == 0 {
		gone.since = one.ended
		a.absent++
	} else {
		a.failed++
	}
	nodes := len(a.runner.Target.nodes)
	if one.redirected {
		gone.failures, gone.step, gone.redial = 0, 0, one.ended
		return
	}
	if one.ws.open {
		gone.failures, gone.step = 0, a.runner.random.IntN(nodes)
	} else {
		gone.failures, gone.step = gone.failures+1, 1
	}
	if gone.failures%nodes != 0 { // the balancer tries the next one
		gone.redial = one.ended
		return
	}
	gone.redial = one.ended + int64(min(firstPause<<min(gone.failures/nodes, 10), longPause))
}

// busiest is how many clients came back in one second at most.
func (a *attendance) busiest() (most int) {
	for _, n := range a.seconds {
		most = max(most, n)
	}
	return most
}
