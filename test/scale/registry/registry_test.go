package registry

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// tableVariable names the document whose table is to be written anew; without it,
// a little is measured and nothing is written.
const tableVariable = "WSNODE_REGISTRY_TABLE"

// effort is how much is measured.
type effort struct {
	servers             []int // nats-servers of each stack, with as many replicas
	live, few           int   // documents in the full bucket, and in the other
	each                int   // operations one after the other
	rounds, inEachRound int   // and in parallel
	left                int   // documents that are left
	grace               time.Duration
	most                float64 // full to empty: more is a failure
}

func measuring() (effort, bool) {
	if os.Getenv(tableVariable) == "" {
		return effort{servers: []int{1}, live: 3000, few: 10, each: 50, rounds: 1, inEachRound: 200, left: 5, grace: 2 * time.Second, most: 4}, false
	}
	return effort{servers: []int{1, 3}, live: 100_000, few: 10, each: 3000, rounds: 7, inEachRound: 2000, left: 50, grace: 10 * time.Second, most: 2}, true
}

// figures are those of one operation on one bucket.
type figures struct {
	took []time.Duration
	rate []float64 // per second, by round
}

func (f *figures) percentile(p int) time.Duration {
	slices.Sort(f.took)
	return f.took[(len(f.took)-1)*p/100]
}

func (f *figures) perSecond() float64 {
	slices.Sort(f.rate)
	return f.rate[len(f.rate)/2]
}

func TestAFullRegistryIsAsFastAsAnEmptyOne(t *testing.T) {
	cluster.WithoutRace(t)
	e, whole := measuring()
	keys := issuer.New(t)
	var table strings.Builder
	for _, servers := range e.servers {
		t.Run(fmt.Sprintf("servers=%d", servers), func(t *testing.T) {
			stacks := []*stack{newStack(t, keys, servers, e.few), newStack(t, keys, servers, e.live)}
			fmt.Fprintf(&table, "| servers and replicas: %d | p50, µs: empty / full | p99, µs: empty / full | per second, 32 at once: empty / full | p50, full to empty |\n| --- | ---: | ---: | ---: | ---: |\n", servers)
			compare(t, &table, stacks, e)
			fmt.Fprintln(&table)
		})
	}
	t.Run("grace", func(t *testing.T) {
		late := leave(t, newStack(t, keys, 1, 0, "--grace", e.grace.String()), e)
		fmt.Fprintf(&table, "Of %d documents that were left, with a grace period of %s, each was unpinned %.2f to %.2f s after its last connection\nhad ended; median %.2f s.\n",
			e.left, e.grace, late[0].Seconds(), late[len(late)-1].Seconds(), late[len(late)/2].Seconds())
		if late[0] < e.grace {
			t.Errorf("a document was unpinned after %s, before its grace period of %s had ended", late[0], e.grace)
		}
	})
	t.Log("\n" + table.String())
	if whole && !t.Failed() {
		write(t, os.Getenv(tableVariable), table.String(), e)
	}
}

// compare measures all operations on the two stacks.
func compare(t *testing.T, table io.Writer, stacks []*stack, e effort) {
	for _, o := range operations {
		var found [2]figures
		for range e.each { // in turns, so that a busy machine slows both
			for k, s := range stacks {
				start := time.Now()
				if err := o.run(s); err != nil {
					t.Fatalf("%s: %v", o.name, err)
				}
				found[k].took = append(found[k].took, time.Since(start))
			}
		}
		for range e.rounds {
			for k, s := range stacks {
				start := time.Now()
				if err := inParallel(e.inEachRound, func(int) error { return o.run(s) }); err != nil {
					t.Fatalf("%s, in parallel: %v", o.name, err)
				}
				found[k].rate = append(found[k].rate, float64(e.inEachRound)/time.Since(start).Seconds())
			}
		}
		empty, full := &found[0], &found[1]
		ratio := float64(full.percentile(50)) / float64(empty.percentile(50))
		fmt.Fprintf(table, "| %s | %d / %d | %d / %d | %.0f / %.0f | %.2f |\n", o.name,
			empty.percentile(50).Microseconds(), full.percentile(50).Microseconds(),
			empty.percentile(99).Microseconds(), full.percentile(99).Microseconds(),
			empty.perSecond(), full.perSecond(), ratio)
		if ratio > e.most {
			t.Errorf("%s takes %.2f times as long with %d live documents", o.name, ratio, e.live)
		}
	}
}

// leave opens documents, leaves them one after the other, and returns how long
// each then stayed pinned, sorted.
func leave(t *testing.T, s *stack, e effort) []time.Duration {
	names, connections := make([]string, e.left), make([]*websocket.Conn, e.left)
	for i := range names {
		var err error
		names[i] = s.fresh()
		if connections[i], err = s.dial(names[i]); err != nil {
			t.Fatal(err)
		}
	}
	left := make([]time.Time, e.left)
	for i, c := range connections {
		left[i] = time.Now()
		_ = c.CloseNow()
		time.Sleep(37 * time.Millisecond) // so that they fall on any part of a second
	}
	// The registry offers no event for it, so it is asked, as often as it answers.
	time.Sleep(time.Until(left[0].Add(e.grace - 100*time.Millisecond)))
	var stayed []time.Duration
	for len(stayed) < e.left {
		for i := range names {
			if left[i].IsZero() { // seen to be unpinned
				continue
			}
			_, state, err := s.there.Lookup(context.Background(), document(names[i]))
			if err != nil {
				t.Fatal(err)
			}
			if stay := time.Since(left[i]); state == kvpin.Free {
				stayed, left[i] = append(stayed, stay), time.Time{}
			} else if stay > e.grace+time.Minute {
				t.Fatalf("a document is still %s %s after it was left", state, stay)
			}
		}
		time.Sleep(time.Millisecond)
	}
	slices.Sort(stayed)
	return stayed
}

const (
	beginMark = "<!-- begin: written by task bench:registry -->"
	endMark   = "<!-- end: written by task bench:registry -->"
)

// write puts the table between the marks of a document.
func write(t *testing.T, path, table string, e effort) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(data), beginMark)
	_, after, ends := strings.Cut(rest, endMark)
	if !begins || !ends {
		t.Fatalf("%s lacks the lines %q and %q", path, beginMark, endMark)
	}
	intro := fmt.Sprintf("%s; %d cores, shared with other work. Each figure of %d operations, rates the median of %d rounds of %d;\n\"full\" is %d live documents.",
		time.Now().UTC().Format("2 January 2006"), runtime.NumCPU(), e.each, e.rounds, e.inEachRound, e.live)
	if err := os.WriteFile(path, []byte(before+beginMark+"\n"+intro+"\n\n"+table+endMark+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
