package room

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/natstest"
)

// TestJoinDuringABurstHasNoHole has a pod open a document again and again while
// two others write. WSNODE_JOINS raises the number of joins for the soak.
func TestJoinDuringABurstHasNoHole(t *testing.T) {
	joins := 20
	if n, err := strconv.Atoi(os.Getenv("WSNODE_JOINS")); err == nil {
		joins = n
	}
	// Without beacons nobody repairs a hole, so that one would stay.
	unhelped := func(c *Config) { c.BeaconEvery, c.PeerTimeout = time.Hour, 2*time.Hour }
	for _, servers := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d servers", servers), func(t *testing.T) {
			urls := strings.Split(natstest.Cluster(t, servers).URL, ",")
			var pods [3]*pod
			for i := range pods {
				pods[i] = newPod(t, urls[i%len(urls)], unhelped)
			}
			// A document of its own for every ten joins: what is shown is the join,
			// not how large a document becomes.
			for n := 0; n < joins; n += 10 {
				joinDuringBurst(t, pods, fmt.Sprintf("e%d", n), min(10, joins-n))
			}
		})
	}
}

func joinDuringBurst(t *testing.T, pods [3]*pod, epoch string, trials int) {
	a, b, joiner := pods[0].open(t, epoch), pods[1].open(t, epoch), pods[2]
	defer a.Close()
	defer b.Close()
	stop := make(chan struct{})
	var writing sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); writing.Wait() })
	defer end() // also where the test fails
	for i, r := range []*Room{a, b} {
		_, seat := join(t, r)
		writing.Go(func() { burst(t, r, seat, uint64(i+1), stop) })
	}
	for trial := range trials {
		r := joiner.open(t, epoch)
		// What the writers knew when the room was ready must come by itself.
		want := a.Stat().StateVector
		eventually(t, fmt.Sprintf("%s, join %d: the room knows what the writers knew", epoch, trial), func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			lacks, _, err := compare(r.content.store.StateVector(), want)
			return err == nil && !lacks
		})
		if trial == trials-1 {
			end()
			eventually(t, epoch+": all rooms are equal once nobody writes, deletions included", func() bool {
				return a.digestOf() == r.digestOf() && b.digestOf() == r.digestOf()
			})
		}
		r.Close()
	}
}

// burst writes until stop is closed, some thousand edits a second, but never far ahead
// of what the history has acknowledged: who writes more than NATS takes tests NATS.
func burst(t *testing.T, r *Room, seat *Seat, client uint64, stop <-chan struct{}) {
	const ahead = 16 // edits
	w := &writer{client: client}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-time.After(50 * time.Microsecond): // so that most edits travel alone
		}
		if r.unacknowledged() >= ahead {
			continue
		}
		apply(t, seat, w.insert("x"))
		if n%5 == 0 {
			apply(t, seat, w.remove(w.clock-1))
		}
	}
}

// unacknowledged is how many changes the room took since its oldest that is not durable.
func (r *Room) unacknowledged() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.water.taken - r.log.water.own()
}

func (r *Room) digestOf() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("%x %x", r.content.store.StateVector(), r.content.store.DeleteDigest())
}
