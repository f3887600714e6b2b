package room

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/test/natstest"
)

// say has a seat's client send its state.
func say(t *testing.T, s *Seat, client, clock uint64, state string) {
	t.Helper()
	if err := s.Awareness(awareness.Append(nil, []awareness.Entry{{Client: client, Clock: clock, State: []byte(state)}})); err != nil {
		t.Fatal(err)
	}
}

// entry is what a member knows of a client.
func (m *member) entry(client uint64) awareness.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.states.Newest(client, 0)
}

func (m *member) silence(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.silent = d
}

func TestAClientWhoseTimersRestStaysVisibleOnAllPods(t *testing.T) {
	url := natstest.Server(t).URL
	a, b := newPod(t, url).open(t, "e1"), newPod(t, url).open(t, "e1")
	owner, seat := join(t, a)
	remote, _ := join(t, b)
	say(t, seat, 5, 7, `{"name":"Ada"}`)
	eventually(t, "seen", func() bool { return remote.entry(5).Clock == 7 })
	later := time.Now().Add(awareness.RenewAfter)
	a.renewAt(later)
	eventually(t, "renewed", func() bool { return remote.entry(5).Clock == 8 && owner.entry(5).Clock == 8 })
	owner.silence(aliveWithin)
	a.renewAt(later.Add(awareness.RenewAfter))
	if got := owner.entry(5); got.Clock != 8 || got.State == nil {
		t.Errorf("%+v, of a session that is dead as far as anybody knows", got)
	}
}

// renewAt is the part of a tick that renews.
func (r *Room) renewAt(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.presence.renew(now)
}

func TestWhoseClientIsClaimedByAnotherUserAnswersOrLosesIt(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	held, owner := join(t, r)
	claims, other := join(t, r)
	owner.aware.User, other.aware.User = 1, 2
	say(t, owner, 5, 7, `1`)
	settle := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.presence.endContests(time.Now().Add(contestFor))
	}
	say(t, other, 5, 8, `2`)
	if got := claims.entry(5); got.Clock != 7 || held.pings != 1 {
		t.Fatalf("%+v, pinged %d times", got, held.pings)
	}
	settle() // it has answered
	say(t, other, 5, 9, `2`)
	if got := claims.entry(5); string(got.State) != "1" || held.pings != 2 {
		t.Fatalf("%+v, pinged %d times", got, held.pings)
	}
	held.silence(time.Minute)
	settle()
	if got := claims.entry(5); got.State != nil {
		t.Fatalf("%+v, of one who is dead", got)
	}
	say(t, other, 5, 10, `2`)
	if got := held.entry(5); string(got.State) != "2" {
		t.Fatalf("%+v", got)
	}
}

func TestLargeAwarenessStatesAreCountedAndLoggedOnceForEachApp(t *testing.T) {
	var log bytes.Buffer
	p := newPod(t, natstest.Server(t).URL)
	p.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	_, seat := join(t, p.open(t, "e1"))
	large := fmt.Sprintf(`"%s"`, strings.Repeat("x", awareness.MaxStateBytes))
	say(t, seat, 5, 1, large)
	say(t, seat, 5, 2, large)
	if got := p.Counters.Dropped.Large.Load(); got != 2 {
		t.Errorf("%d were counted", got)
	}
	if got := strings.Count(log.String(), "too large"); got != 1 {
		t.Errorf("logged %d times:\n%s", got, &log)
	}
}
