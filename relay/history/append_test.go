package history_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
)

// pod is a bus and a history on one connection, as a node has them.
type pod struct {
	*bus.Bus
	*history.History
}

func openPod(t testing.TB, url string, config history.Config) pod {
	t.Helper()
	nc, err := bus.Connect(within(t, time.Minute), bus.ConnectConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	b, err := bus.New(nc, bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	config.Publisher = b
	return pod{b, openOn(t, nc, config)}
}

// listen returns what comes on a subject, after the server knows of it.
func (p pod) listen(t testing.TB, subject string) <-chan string {
	t.Helper()
	c := make(chan string, 100_000)
	if _, err := p.Subscribe(subject, bus.HandlerFunc(func(_, _ string, data []byte) { c <- string(data) })); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

func hears(t testing.TB, c <-chan string, want string) {
	t.Helper()
	select {
	case got := <-c:
		if got != want {
			t.Fatalf("heard %q, expected %q", got, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("heard nothing, expected %q", want)
	}
}

func TestOnePublishReachesOtherPodsAndTheStreamButNotItsPublisher(t *testing.T) {
	servers := natstest.Server(t)
	a, b := openPod(t, servers.URL, history.Config{}), openPod(t, servers.URL, history.Config{})
	s := subject("d")
	atA, atB := a.listen(t, s), b.listen(t, s)
	seq := stored(t, a.History, s, "edit")
	hears(t, atB, "edit")
	if got, last := load(t, b.History, s); fmt.Sprint(got) != "[edit]" || last != seq {
		t.Errorf("loaded %v, %d", got, last)
	}
	stored(t, b.History, s, "back")
	hears(t, atA, "back")
}

func TestTimeToDurableIsObserved(t *testing.T) {
	var observed atomic.Int64
	h := open(t, natstest.Server(t), history.Config{Observe: func(d time.Duration) { observed.Store(int64(d)) }})
	stored(t, h, subject("d"), "x")
	if d := time.Duration(observed.Load()); d <= 0 || d > 5*time.Second {
		t.Errorf("observed %v", d)
	}
}

func TestFullStreamRefusesButFansOutAndRecovers(t *testing.T) {
	servers := natstest.Server(t)
	a, b := openPod(t, servers.URL, history.Config{MaxBytes: 64 << 10}), openPod(t, servers.URL, history.Config{})
	s := subject("d")
	heard := b.listen(t, s)
	data := string(make([]byte, 10<<10))
	var last uint64
	full := false
	for range 10 {
		o := appendTo(t, a.History, s, data)
		hears(t, heard, data)
		if o.err != nil {
			if !errors.Is(o.err, history.ErrFull) {
				t.Fatal(o.err)
			}
			full = true
			continue
		}
		last = o.seq
	}
	if !full {
		t.Fatal("the stream took more than it may")
	}
	if got, _ := load(t, b.History, s); len(got) < 5 {
		t.Fatalf("%d messages are left of what was acknowledged", len(got))
	}
	if err := a.PurgeBelow(within(t, time.Minute), s, last); err != nil {
		t.Fatal(err)
	}
	stored(t, a.History, s, data)
}

func TestFullDiskIsAFullHistory(t *testing.T) {
	servers := natstest.Server(t, func(o *server.Options) { o.JetStreamMaxStore = 128 << 10 })
	h := open(t, servers, history.Config{})
	var err error
	for range 20 {
		if err = appendTo(t, h, subject("d"), string(make([]byte, 10<<10))).err; err != nil {
			break
		}
	}
	if !errors.Is(err, history.ErrFull) {
		t.Errorf("got %v", err)
	}
}

func TestTooManyOrTooLargeAppendsAreRefusedAtOnce(t *testing.T) {
	servers := natstest.Server(t)
	proxy := natstest.NewProxy(t, servers.URL)
	h := openOn(t, natstest.ConnectURL(t, proxy.URL), history.Config{MaxInFlight: 3})
	proxy.CutReplies()
	done := make(chan outcome, 3)
	for range 3 {
		if err := h.Append(subject("d"), []byte("x"), func(seq uint64, err error) { done <- outcome{seq, err} }); err != nil {
			t.Fatal(err)
		}
	}
	never := func(uint64, error) { t.Error("done was called for a refused append") }
	if err := h.Append(subject("d"), []byte("x"), never); !errors.Is(err, history.ErrBusy) {
		t.Errorf("too many: %v", err)
	}
	proxy.Heal()
	for range 3 {
		if o := <-done; o.err != nil {
			t.Error(o.err)
		}
	}
	if err := h.Append(subject("d"), make([]byte, h.MaxPayload()+1), never); !errors.Is(err, history.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := h.Append("wsn.u.7.x", nil, never); err == nil {
		t.Error("another shard's subject was taken")
	}
	stored(t, h, subject("d"), string(make([]byte, h.MaxPayload())))
	if n := h.InFlight(); n != 0 {
		t.Errorf("%d appends are in flight", n)
	}
}

func TestLateAcknowledgementIsNobodysElse(t *testing.T) {
	servers := natstest.Server(t)
	proxy := natstest.NewProxy(t, servers.URL)
	h := openOn(t, natstest.ConnectURL(t, proxy.URL), history.Config{MaxInFlight: 1, AckWait: 100 * time.Millisecond})
	s := subject("d")
	proxy.CutReplies()
	if o := appendTo(t, h, s, "first"); !errors.Is(o.err, history.ErrUnavailable) {
		t.Fatalf("got %v", o)
	}
	out := make(chan outcome, 1)
	if err := h.Append(s, []byte("second"), func(seq uint64, err error) { out <- outcome{seq, err} }); err != nil {
		t.Fatal(err)
	}
	proxy.Heal() // now both acknowledgements come
	if o := <-out; o.err == nil && o.seq != 2 {
		t.Errorf("the second append was acknowledged as %d", o.seq)
	}
}

func TestEveryDoneIsCalledExactlyOnceWhateverHappens(t *testing.T) {
	servers := natstest.Server(t)
	proxy := natstest.NewProxy(t, servers.URL)
	p := openPod(t, proxy.URL, history.Config{AckWait: 200 * time.Millisecond})
	var mu sync.Mutex
	calls := map[int]int{}
	taken := map[int]bool{}
	n := 0
	write := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); n++ {
			i := n
			err := p.Append(subject("d"), []byte("x"), func(uint64, error) {
				mu.Lock()
				calls[i]++
				mu.Unlock()
			})
			taken[i] = err == nil
			time.Sleep(50 * time.Microsecond)
		}
	}
	write(50 * time.Millisecond)
	proxy.Reset()
	write(300 * time.Millisecond)
	proxy.CutReplies()
	write(300 * time.Millisecond)
	proxy.Heal()
	write(50 * time.Millisecond)
	p.History.Close()
	if err := p.Append(subject("d"), nil, nil); !errors.Is(err, history.ErrClosed) {
		t.Errorf("append after Close: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	for i := range n {
		want := 0
		if taken[i] {
			want = 1
		}
		if calls[i] != want {
			t.Fatalf("append %d: %d calls, expected %d", i, calls[i], want)
		}
	}
}

func TestDeletedStreamIsCreatedAgainAndEveryPodIsTold(t *testing.T) {
	servers := natstest.Server(t)
	emptied := [2]chan int{make(chan int, 10), make(chan int, 10)}
	var pods [2]pod
	for i := range pods {
		pods[i] = openPod(t, servers.URL, history.Config{AckWait: 200 * time.Millisecond, Emptied: func(shard int) { emptied[i] <- shard }})
	}
	s := subject("d")
	for range 10 {
		stored(t, pods[0].History, s, "old")
		stored(t, pods[1].History, s, "old")
	}
	js, err := jetstream.New(natstest.Connect(t, servers))
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(within(t, time.Minute), history.StreamName(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := pods[0].LoadFrom(within(t, time.Minute), s, 1, nil); !errors.Is(err, history.ErrStreamMissing) {
		t.Errorf("load: %v", err)
	}
	select {
	case shard := <-emptied[0]:
		if shard != 0 {
			t.Errorf("shard %d", shard)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the pod that noticed was not told")
	}
	// The other pod sees a sequence that it has seen before.
	if seq := stored(t, pods[1].History, s, "new"); seq != 1 {
		t.Errorf("the new stream begins at %d", seq)
	}
	select {
	case <-emptied[1]:
	case <-time.After(20 * time.Second):
		t.Fatal("the other pod was not told")
	}
	if got, _ := load(t, pods[0].History, s); fmt.Sprint(got) != "[new]" {
		t.Errorf("loaded %v", got)
	}
	if err := js.DeleteStream(within(t, time.Minute), history.StreamName(0)); err != nil {
		t.Fatal(err)
	}
	if renewed, err := pods[0].Ensure(within(t, time.Minute)); err != nil || fmt.Sprint(renewed) != "[0]" {
		t.Errorf("ensure: %v, %v", renewed, err)
	}
}

func TestAppendsFailAndFanOutGoesOnWithoutQuorum(t *testing.T) {
	servers := natstest.Cluster(t, 3)
	config := history.Config{Replicas: 3, AckWait: 500 * time.Millisecond}
	a, b := openPod(t, servers.ServerURL(0), config), openPod(t, servers.ServerURL(0), config)
	s := subject("d")
	heard := b.listen(t, s)
	stored(t, a.History, s, "before")
	hears(t, heard, "before")
	servers.Stop(1)
	servers.Stop(2)
	began := time.Now()
	o := appendTo(t, a.History, s, "during")
	if !errors.Is(o.err, history.ErrUnavailable) || time.Since(began) > 5*time.Second {
		t.Errorf("append: %v after %v", o, time.Since(began))
	}
	hears(t, heard, "during")
	// A leader that has lost its followers answers for some seconds more.
	found := 0
	if _, err := a.LoadFrom(within(t, time.Second), s, 1, func(uint64, []byte) error { found++; return nil }); err == nil && found == 0 {
		t.Error("load found nothing and said nothing")
	} else if err != nil && !errors.Is(err, history.ErrUnavailable) {
		t.Errorf("load: %v", err)
	}
	servers.Start(1)
	servers.Start(2)
	servers.WaitReady()
	for end := time.Now().Add(20 * time.Second); appendTo(t, a.History, s, "after").err != nil; {
		if time.Now().After(end) {
			t.Fatal("appends do not recover")
		}
	}
	got, _ := load(t, b.History, s)
	if len(got) < 2 || got[0] != "before" || got[len(got)-1] != "after" {
		t.Errorf("loaded %v", got)
	}
}

func TestPurgesUnderWritersLoseNothing(t *testing.T) {
	servers := natstest.Server(t)
	h := open(t, servers, history.Config{})
	s := subject("d")
	const writers, each = 4, 500
	var mu sync.Mutex
	acknowledged := map[string]uint64{}
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				name := fmt.Sprint(w, "-", i)
				seq := stored(t, h, s, name)
				mu.Lock()
				acknowledged[name] = seq
				mu.Unlock()
			}
		})
	}
	stop := make(chan struct{})
	var compactors sync.WaitGroup
	for range 2 {
		h := open(t, servers, history.Config{})
		compactors.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					compact(t, h, s)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	compactors.Wait()
	compact(t, h, s)
	found := map[string]bool{}
	messages, _ := load(t, h, s)
	for _, m := range messages {
		for _, name := range splitNames(m) {
			found[name] = true
		}
	}
	for name, seq := range acknowledged {
		if !found[name] {
			t.Errorf("%s was acknowledged as %d and is lost", name, seq)
		}
	}
	if len(messages) != 1 {
		t.Errorf("%d messages are left after the last compaction", len(messages))
	}
}

// compact reads, appends a snapshot of what was read, and purges below what was
// read last.
func compact(t *testing.T, h *history.History, s string) {
	seen := map[string]bool{}
	last, err := h.LoadFrom(within(t, 30*time.Second), s, 1, func(_ uint64, data []byte) error {
		for _, name := range splitNames(string(data)) {
			seen[name] = true
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if last == 0 || err != nil {
		return
	}
	snapshot := ""
	for name := range seen {
		snapshot += name + ","
	}
	if o := appendTo(t, h, s, snapshot); o.err != nil {
		t.Error(o.err)
		return
	}
	if err := h.PurgeBelow(within(t, 30*time.Second), s, last+1); err != nil {
		t.Error(err)
	}
}

func splitNames(s string) (names []string) {
	for name := range strings.SplitSeq(s, ",") {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}
