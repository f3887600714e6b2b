package history_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
)

// TestJoinDuringABurstRarelyHasHoles is the history's part of a join: subscribe,
// flush, load with the leader's fence. Without the fence about two of three joins
// miss something on a cluster of three, with it about one in two hundred (more when
// other work keeps the servers waiting), which is what the rooms' hello is for.
func TestJoinDuringABurstRarelyHasHoles(t *testing.T) {
	const trials, burst = 40, 40
	servers := natstest.Cluster(t, 3)
	var pods [3]pod
	for k := range pods {
		pods[k] = openPod(t, servers.ServerURL(k), history.Config{Replicas: 3, AckWait: 30 * time.Second})
	}
	holes := 0
	for trial := range trials {
		s := subject(fmt.Sprint("join", trial))
		var acknowledged sync.WaitGroup
		var writers sync.WaitGroup
		begun := make(chan struct{}, 2)
		for w := range 2 {
			acknowledged.Add(burst)
			writers.Go(func() {
				for i := range burst {
					if err := pods[w].Append(s, fmt.Append(nil, w, " ", i), func(_ uint64, err error) {
						if err != nil {
							t.Error(err)
						}
						acknowledged.Done()
					}); err != nil {
						t.Error(err)
						acknowledged.Done()
					}
					if i == burst/4 {
						begun <- struct{}{}
					}
					time.Sleep(200 * time.Microsecond)
				}
			})
		}
		<-begun
		heard := pods[2].listen(t, s)
		loaded, _ := load(t, pods[2].History, s)
		writers.Wait()
		acknowledged.Wait()
		// The last of the burst is on its way; every message is either in the history
		// that was read or arrives.
		if missing := missingOf(2*burst, loaded, heard); missing > 0 {
			holes++
			t.Logf("trial %d: %d messages missing", trial, missing)
		}
	}
	t.Logf("%d of %d joins had holes", holes, trials)
	if holes > trials/2 {
		t.Errorf("%d of %d joins had holes", holes, trials)
	}
}

// missingOf waits until all of n messages are there, or nothing more comes.
func missingOf(n int, loaded []string, heard <-chan string) int {
	seen := map[string]bool{}
	for _, m := range loaded {
		seen[m] = true
	}
	for len(seen) < n {
		select {
		case m := <-heard:
			w, i, ok := strings.Cut(m, " ")
			if _, err := strconv.Atoi(w + i); ok && err == nil {
				seen[m] = true
			}
		case <-time.After(3 * time.Second):
			return n - len(seen)
		}
	}
	return 0
}
