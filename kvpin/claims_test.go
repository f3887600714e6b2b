package kvpin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/test/natstest"
)

// Claims on real servers: races, and what they cost.

// onServers runs a test on one server and on a cluster of three.
func onServers(t *testing.T, test func(t *testing.T, server *natstest.Instance)) {
	t.Parallel()
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		test(t, natstest.Server(t))
	})
	t.Run("three servers", func(t *testing.T) {
		t.Parallel()
		test(t, natstest.Cluster(t, 3))
	})
}

// natsWorld is a world on the server, with the times of production.
func natsWorld(t *testing.T, server *natstest.Instance) *world {
	w := &world{t: t, server: server, url: server.URL}
	w.change = append(w.change, func(c *Config) {
		c.Grace, c.LeaseTTL, c.RenewEvery = 10*time.Second, 10*time.Second, 3*time.Second
		c.Timeout, c.Deadline = 10*time.Second, 20*time.Second // a busy machine is no failure
	})
	t.Cleanup(w.close)
	return w
}

// fromEnvironment is a number that a soak task raises.
func fromEnvironment(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// WSNODE_CLAIMS is the number of races; task soak:claims runs 1,000.
func TestOneOfEightClaimersFromFourRegionsWins(t *testing.T) {
	onServers(t, func(t *testing.T, server *natstest.Instance) {
		w := natsWorld(t, server)
		var nodes []*testNode
		for i := range 8 {
			nodes = append(nodes, w.node(docid.Region(fmt.Sprintf("region-%d", i/2)), docid.NodeID(fmt.Sprintf("n%d", i))))
		}
		rounds := fromEnvironment(t, "WSNODE_CLAIMS", 100)
		for round := range rounds {
			doc := testDoc(fmt.Sprintf("race-%d", round))
			holds := make([]*Hold, len(nodes))
			var claims sync.WaitGroup
			for i, n := range nodes {
				claims.Go(func() {
					h, err := n.Hold(context.Background(), doc)
					var pinned *PinnedError
					if err != nil && !errors.As(err, &pinned) {
						t.Errorf("round %d, node %d: %v", round, i, err)
					}
					holds[i] = h
				})
			}
			claims.Wait()
			winners := make(map[docid.Region]Epoch)
			for i, h := range holds {
				if h == nil {
					continue
				}
				p := h.Pin()
				if epoch, ok := winners[p.Region]; ok && epoch != p.Epoch {
					t.Fatalf("round %d: two epochs in region %s", round, p.Region)
				}
				winners[p.Region] = p.Epoch
				if p.Region != nodes[i].cfg.Region {
					t.Fatalf("round %d: node of %s holds a pin of %s", round, nodes[i].cfg.Region, p.Region)
				}
			}
			if len(winners) != 1 {
				t.Fatalf("round %d has the winners %v", round, winners)
			}
			// The other node of the winning region holds it, too.
			p, ok := w.pin(doc)
			if !ok || winners[p.Region] != p.Epoch || len(p.Holders) != 2 {
				t.Fatalf("round %d: winners %v, pin %+v", round, winners, p)
			}
			if round%4 == 0 {
				w.leaveRace(holds)
			}
		}
	})
}

// leaveRace releases all holds at once: exactly one is the last.
func (w *world) leaveRace(holds []*Hold) {
	w.t.Helper()
	var leaving sync.WaitGroup
	lasts := make(chan bool, len(holds))
	for _, h := range holds {
		if h != nil {
			leaving.Go(func() {
				last, err := h.Release(context.Background(), time.Now())
				if err != nil {
					w.t.Error(err)
				}
				if last {
					lasts <- true
				}
			})
		}
	}
	leaving.Wait()
	if len(lasts) != 1 {
		w.t.Fatalf("%d of the holders were the last", len(lasts))
	}
}

// stream returns the state of the registry's stream. Its last sequence counts all
// writes, the server's own markers included.
func stream(t *testing.T, server *natstest.Instance) *jetstream.StreamInfo {
	t.Helper()
	js, err := jetstream.New(natstest.Connect(t, server))
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "KV_"+bucketName(testLicense))
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo()
}

func TestOpeningAndClosingADocumentCostsTwoWritesAndAMarker(t *testing.T) {
	onServers(t, func(t *testing.T, server *natstest.Instance) {
		w := natsWorld(t, server)
		// Nothing but documents may write meanwhile.
		w.change = append(w.change, func(c *Config) {
			c.Grace, c.LeaseTTL, c.RenewEvery, c.SweepAfter = time.Second, 60*time.Second, 30*time.Second, time.Hour
		})
		n := w.node("eu-central-1", "a")
		// A write that a follower's stale read refused is tried again, now and then.
		const documents, retried = 100, 10
		before, sent := stream(t, server).State.LastSeq, n.Stats(testLicense)
		for i := range documents {
			doc := testDoc(fmt.Sprintf("cost-%d", i))
			n.lookup(doc)
			release(t, n.hold(doc))
		}
		now := n.Stats(testLicense)
		if writes, reads := now.Writes-sent.Writes, now.Reads-sent.Reads; writes > 2*documents+retried || reads > documents+retried {
			t.Fatalf("%d documents looked up, opened and closed with %d writes and %d reads", documents, writes, reads)
		}
		eventually(t, 5*time.Second, "all unpinned", func() bool { _, s := n.lookup(testDoc("cost-99")); return s == Free })
		if cost := stream(t, server).State.LastSeq - before; cost > 3*documents+retried {
			t.Fatalf("%d documents gone with %d writes", documents, cost)
		}
	})
}

// WSNODE_HOLD is how long WSNODE_HELD documents are held; task soak:hold holds 10,000 for
// 10 minutes.
func TestManyHeldDocumentsCostAWriteInThreeSeconds(t *testing.T) {
	length, documents := 12*time.Second, fromEnvironment(t, "WSNODE_HELD", 1000)
	if text := os.Getenv("WSNODE_HOLD"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal("WSNODE_HOLD: ", err)
		}
	}
	onServers(t, func(t *testing.T, server *natstest.Instance) {
		w := natsWorld(t, server)
		n := w.node("eu-central-1", "a")
		var holding sync.WaitGroup
		for k := range 16 {
			holding.Go(func() {
				for i := k; i < documents; i += 16 {
					n.hold(testDoc(fmt.Sprintf("held-%d", i)))
				}
			})
		}
		holding.Wait()
		n.settled()
		before, start := stream(t, server).State.LastSeq, time.Now()
		time.Sleep(length)
		cost := stream(t, server).State.LastSeq - before
		// Renewals vary by a tenth, and a sweep leaves a note.
		if most := uint64(time.Since(start)/(3*time.Second)) + 4; cost > most {
			t.Fatalf("%d writes in %s, expected at most %d", cost, time.Since(start), most)
		}
		t.Logf("%d writes in %s", cost, time.Since(start).Round(time.Second))
	})
}

func TestPinGoesTenToTwelveSecondsAfterTheLastDisconnect(t *testing.T) {
	onServers(t, func(t *testing.T, server *natstest.Instance) {
		w := natsWorld(t, server)
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
		var checks sync.WaitGroup
		for i := range 20 {
			checks.Go(func() {
				time.Sleep(time.Duration(i) * 53 * time.Millisecond)
				doc := testDoc(fmt.Sprintf("grace-%d", i))
				h := a.hold(doc)
				left := time.Now()
				time.Sleep(time.Second) // as a relay does, against page reloads
				if _, err := h.Release(context.Background(), left); err != nil {
					t.Error(err)
					return
				}
				if time.Since(left) > 2*time.Second {
					t.Logf("the machine is too busy to release in time: %s", time.Since(left))
					return
				}
				if i%4 == 0 { // comes back in time
					time.Sleep(time.Until(left.Add(9500 * time.Millisecond)))
					if again := b.hold(doc); again.Pin().Epoch != h.Pin().Epoch && time.Since(left) < 10*time.Second {
						t.Error("a reconnect at 9.5 s met another epoch")
					}
					return
				}
				time.Sleep(time.Until(left.Add(9900 * time.Millisecond)))
				for {
					_, s, err := b.Lookup(context.Background(), doc)
					since := time.Since(left)
					if err == nil && s == Free {
						if since < 10*time.Second || since > 12*time.Second {
							t.Errorf("unpinned after %s", since)
						}
						return
					}
					if since > 15*time.Second {
						t.Errorf("still pinned after 15 s: %v, %v", s, err)
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		checks.Wait()
	})
}

func TestPageRefreshesCostTwoWrites(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		n := w.node("eu-central-1", "a")
		doc := testDoc("x")
		h := n.hold(doc)
		before := w.bucket.Written("pin")
		release(w.t, h)
		time.Sleep(100 * time.Millisecond)
		again := n.hold(doc)
		if cost := w.bucket.Written("pin") - before; cost > 2 || again.Pin().Epoch != h.Pin().Epoch {
			w.t.Fatalf("%d writes", cost)
		}
	})
}
