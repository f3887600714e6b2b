package room

import (
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestAwarenessComesAndGoesOverPods(t *testing.T) {
	url := natstest.Server(t).URL
	a, b := newPod(t, url).open(t, "e1"), newPod(t, url).open(t, "e1")
	_, seat := join(t, a)
	remote, _ := join(t, b)
	state := awareness.Append(nil, []awareness.Entry{{Client: 5, Clock: 1, State: []byte(`{"name":"Ada"}`)}})
	if err := seat.Awareness(state); err != nil {
		t.Fatal(err)
	}
	eventually(t, "seen on the other pod", func() bool { return remote.present() == 1 })
	late, _ := join(t, newPod(t, url).open(t, "e1"))
	eventually(t, "seen by a pod that opens later", func() bool { return late.present() == 1 })
	seat.Leave()
	eventually(t, "gone everywhere", func() bool { return remote.present() == 0 && late.present() == 0 })
}

func TestWhoLeftWhileNATSWasAwayIsGoneEverywhereAfterwards(t *testing.T) {
	url := natstest.Server(t).URL
	p := newPod(t, url)
	a, b := p.open(t, "e1"), newPod(t, url).open(t, "e1")
	_, seat := join(t, a)
	_, staying := join(t, a)
	remote, _ := join(t, b)
	for i, s := range []*Seat{seat, staying} {
		state := awareness.Append(nil, []awareness.Entry{{Client: uint64(5 + i), Clock: 1, State: []byte(`{}`)}})
		if err := s.Awareness(state); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "seen", func() bool { return remote.present() == 2 })
	a.mu.Lock() // as if what is published was lost
	a.presence.set.RemoveSession(seat.aware.Owner, now())
	a.mu.Unlock()
	p.Disturbed()
	eventually(t, "gone", func() bool { return remote.present() == 1 })
}

func TestARoomThatGoesOverToAnotherEpochLeavesTheClientsOfOthersBehind(t *testing.T) {
	url := natstest.Server(t).URL
	a, b := newPod(t, url).open(t, "e1"), newPod(t, url).open(t, "e1")
	_, seat := join(t, a)
	remote, _ := join(t, b)
	if err := seat.Awareness(awareness.Append(nil, []awareness.Entry{{Client: 5, Clock: 1, State: []byte(`{}`)}})); err != nil {
		t.Fatal(err)
	}
	eventually(t, "seen", func() bool { return remote.present() == 1 })
	if err := b.Rebase(t.Context(), "e2"); err != nil {
		t.Fatal(err)
	}
	if remote.present() != 0 {
		t.Error("a client of the former epoch's rooms is still present")
	}
}

func TestTheClientsOfADeadPodLeave(t *testing.T) {
	url := natstest.Server(t).URL
	quick := func(c *Config) { c.BeaconEvery, c.PeerTimeout = 200*time.Millisecond, time.Second }
	a, b := newPod(t, url), newPod(t, url, quick).open(t, "e1")
	_, seat := join(t, a.open(t, "e1"))
	remote, _ := join(t, b)
	state := awareness.Append(nil, []awareness.Entry{{Client: 5, Clock: 1, State: []byte(`{}`)}})
	if err := seat.Awareness(state); err != nil {
		t.Fatal(err)
	}
	eventually(t, "seen", func() bool { return remote.present() == 1 })
	a.bus.Conn().Close() // it dies without a word
	eventually(t, "gone", func() bool { return remote.present() == 0 })
}

// However a room got to know another one: that it was an edit does not keep its
// clients from being seen.
func TestPresenceIsToldToARoomThatWasHeardFirstByAnEdit(t *testing.T) {
	url := natstest.Server(t).URL
	p := newPod(t, url)
	r := p.open(t, "e1")
	_, seat := join(t, r)
	if err := seat.Awareness(awareness.Append(nil, []awareness.Entry{{Client: 5, Clock: 1, State: []byte(`{}`)}})); err != nil {
		t.Fatal(err)
	}
	for _, first := range []string{"edit", "states"} {
		t.Run(first, func(t *testing.T) {
			other, from := newPod(t, url), oplog.ID(len(first))
			told := make(chan oplog.Kind, 16)
			pod := other.bus.PodSubject() + "x"
			sub, err := other.bus.Subscribe(pod, bus.HandlerFunc(func(_, _ string, data []byte) {
				if k, _, _, err := oplog.ReadHeader(data); err == nil {
					told <- k
				}
			}))
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Unsubscribe()
			if err := other.bus.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			switch at := r.at.now(); first {
			case "edit":
				r.exchange.Receive(at.updates, "", oplog.Plain.Append(nil, from, oplog.Updates, 1, (&writer{client: 9}).insert("x")))
			case "states":
				r.exchange.Receive(at.signals, "", oplog.AppendStates(nil, from, at.tag, []awareness.Entry{{Client: 6, Clock: 1, State: []byte(`{}`)}}))
			}
			d := r.exchange.digest()
			d.Pod = pod
			data := oplog.AppendDigest(oplog.AppendTo(nil, oplog.Answer, from, uint64(r.id)), d)
			r.rooms.Receive("", "", data)
			for deadline := time.After(20 * time.Second); ; {
				select {
				case k := <-told:
					if k == oplog.States {
						return
					}
				case <-deadline:
					t.Fatal("it was not told who is here")
				}
			}
		})
	}
}
