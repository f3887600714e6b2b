package quota

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// fakeExchange connects nodes in memory.
type fakeExchange struct {
	mu      sync.Mutex
	replies map[docid.AppID]map[int]func() []byte
	next    int
	asked   int
	down    bool
}

func (x *fakeExchange) Answer(app docid.AppID, reply func() []byte) (func(), error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.replies == nil {
		x.replies = map[docid.AppID]map[int]func() []byte{}
	}
	if x.replies[app] == nil {
		x.replies[app] = map[int]func() []byte{}
	}
	x.next++
	id := x.next
	x.replies[app][id] = reply
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.replies[app], id)
	}, nil
}

func (x *fakeExchange) Ask(ctx context.Context, app docid.AppID, each func([]byte)) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked++
	if x.down {
		return errors.New("down")
	}
	for _, reply := range x.replies[app] {
		answer := reply()
		each(answer)
		each(answer) // repeated
		each([]byte("of another version"))
	}
	return nil
}

func usageFleet(n int) (*fakeExchange, []*Places) {
	x := &fakeExchange{}
	bucket := newFakeBucket(1)
	var nodes []*Places
	for i := range n {
		name := "n" + strconv.Itoa(i)
		nodes = append(nodes, NewPlaces(PlacesConfig{Node: name, Region: "eu", Registry: bucket.join(name), Exchange: x}))
	}
	return x, nodes
}

func TestUsageCountsSessionsOnceAndSharedDocumentsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, nodes := usageFleet(3)
		usage := NewUsage(x)
		of := func() Counts {
			t.Helper()
			c, err := usage.Of(t.Context(), testApp)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		if got := of(); got != (Counts{}) {
			t.Errorf("nobody there: %+v", got)
		}
		var places []*Place
		for i := range 30 {
			place, err := nodes[i%3].Admit(t.Context(), testDoc("d"+strconv.Itoa(i%7)), Plan{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			places = append(places, place)
		}
		time.Sleep(5 * time.Second)
		if got := of(); got != (Counts{30, 7}) {
			t.Errorf("got %+v", got)
		}
		leaveAll(places[:29])
		time.Sleep(5 * time.Second)
		asked := x.asked
		for range 1000 {
			if got := of(); got != (Counts{1, 1}) {
				t.Errorf("got %+v", got)
			}
		}
		if x.asked != asked+1 {
			t.Errorf("asked %d times at once", x.asked-asked)
		}
		leaveAll(places[29:])
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(x.replies[testApp]) != 0 {
			t.Error("nodes without sessions still answer")
		}
		x.down = true
		if _, err := usage.Of(t.Context(), testApp); !errors.Is(err, ErrUnavailable) {
			t.Errorf("unreachable: %v", err)
		}
		time.Sleep(5 * time.Second)
		for _, n := range nodes {
			_ = n.Close(t.Context())
		}
		synctest.Wait()
		if len(usage.known) != 0 {
			t.Error("old counts are kept")
		}
	})
}

func TestUsageOfManyDocumentsIsEstimated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, nodes := usageFleet(4)
		for i := range 20000 { // half of them on two nodes
			name := testDoc("d" + strconv.Itoa(i))
			_, _ = nodes[i%4].Admit(t.Context(), name, Plan{}, nil)
			if i%2 == 0 {
				_, _ = nodes[(i+1)%4].Admit(t.Context(), name, Plan{}, nil)
			}
		}
		got, err := NewUsage(x).Of(t.Context(), testApp)
		if err != nil || got.Connections != 30000 || got.Documents < 19000 || got.Documents > 21000 {
			t.Errorf("got %+v, %v", got, err)
		}
		for _, n := range nodes {
			_ = n.Close(t.Context())
		}
		time.Sleep(5 * time.Second)
	})
}

func FuzzParseUsage(f *testing.F) {
	f.Add([]byte{usageForm, 2, 'n', '0', 1, 1, 0, 0, 0, 0, 0, 0, 0, 7})
	f.Fuzz(func(t *testing.T, answer []byte) {
		var all tally
		all.add(answer)
		_ = all.counts()
	})
}
