package history_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestLargeMessagesAreLoadedWhole(t *testing.T) {
	h := open(t, natstest.Server(t), history.Config{})
	s := subject("d")
	const n = 12
	for i := range n {
		stored(t, h, s, string(bytes.Repeat([]byte{byte(i)}, h.MaxPayload())))
	}
	got, _ := load(t, h, s)
	if len(got) != n {
		t.Fatalf("%d messages", len(got))
	}
	for i, m := range got {
		if len(m) != h.MaxPayload() || m[0] != byte(i) || m[len(m)-1] != byte(i) {
			t.Fatalf("message %d differs", i)
		}
	}
}

func TestLoadSurvivesLostConnections(t *testing.T) {
	servers := natstest.Server(t)
	h := open(t, servers, history.Config{})
	s := subject("d")
	const n = 16
	for i := range n {
		stored(t, h, s, strings.Repeat(string(rune('a'+i%26)), h.MaxPayload()))
	}
	proxy := natstest.NewProxy(t, servers.URL)
	p := openPod(t, proxy.URL, history.Config{})
	var seqs []uint64
	last, err := p.LoadFrom(within(t, 60*time.Second), s, 1, func(seq uint64, data []byte) error {
		seqs = append(seqs, seq)
		if seq%7 == 0 {
			proxy.Reset() // the rest of the page, or the answer to the next request, is lost
		}
		return nil
	})
	if err != nil || last != n || len(seqs) != n || !slices.IsSorted(seqs) {
		t.Fatalf("got %v, %d, %v", seqs, last, err)
	}
}

func TestLoadEndsWithTheCallersError(t *testing.T) {
	h := open(t, natstest.Server(t), history.Config{})
	s := subject("d")
	for range 3 {
		stored(t, h, s, "x")
	}
	stop := errors.New("stop")
	last, err := h.LoadFrom(within(t, time.Minute), s, 1, func(seq uint64, _ []byte) error {
		if seq == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || errors.Is(err, history.ErrUnavailable) || last != 2 {
		t.Errorf("got %d, %v", last, err)
	}
}

func TestLoadWithoutConnectionEndsWithTheContext(t *testing.T) {
	servers := natstest.Server(t)
	p := openPod(t, servers.URL, history.Config{})
	servers.Stop(0)
	for p.Connected() {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	_, err := p.LoadFrom(within(t, 300*time.Millisecond), subject("d"), 1, nil)
	if !errors.Is(err, history.ErrUnavailable) || time.Since(began) > 5*time.Second {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
	if err := p.PurgeBelow(within(t, 100*time.Millisecond), subject("d"), 5); !errors.Is(err, history.ErrUnavailable) {
		t.Errorf("purge: %v", err)
	}
	if err := p.Append(subject("d"), nil, nil); err == nil {
		t.Error("append without a connection")
	}
}

func TestRegionDecidesTheNumberOfShards(t *testing.T) {
	servers := natstest.Server(t)
	first := open(t, servers, history.Config{Shards: 3})
	second := open(t, servers, history.Config{Shards: 5})
	if first.Shards() != 3 || second.Shards() != 3 {
		t.Fatalf("%d and %d shards", first.Shards(), second.Shards())
	}
	used := map[int]int{}
	for i := range 3000 {
		key := fmt.Sprint("document ", i)
		if first.Shard(key) != second.Shard(key) {
			t.Fatalf("the pods differ about %s", key)
		}
		used[first.Shard(key)]++
	}
	for shard := range 3 {
		if used[shard] < 800 {
			t.Errorf("shard %d has %d of 3000", shard, used[shard])
		}
		s := fmt.Sprintf("wsn.u.%d.aws-eu-west-1.t.a.d.e", shard)
		stored(t, first, s, "x")
		if got, _ := load(t, second, s); len(got) != 1 {
			t.Errorf("shard %d: %v", shard, got)
		}
	}
	states, err := first.State(within(t, time.Minute))
	if err != nil || len(states) != 3 {
		t.Fatalf("%v, %v", states, err)
	}
	for shard, s := range states {
		if s.Shard != shard || s.Messages != 1 || s.Subjects != 1 || s.Bytes == 0 || s.MaxBytes != -1 || s.Replicas != 1 {
			t.Errorf("state %+v", s)
		}
	}
}

func TestUnfitStreamIsRefusedInAnOperatorsWords(t *testing.T) {
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"allow_direct":         func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"deny_purge":           func(c *jetstream.StreamConfig) { c.DenyPurge = true },
		"discard":              func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20; c.Discard = jetstream.DiscardOld },
		"subjects":             func(c *jetstream.StreamConfig) { c.Subjects = []string{"x"} },
		"retention":            func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"max_msgs_per_subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"wsnode.shards":        func(c *jetstream.StreamConfig) { c.Metadata = nil },
	} {
		servers := natstest.Server(t)
		nc := natstest.Connect(t, servers)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		config := jetstream.StreamConfig{
			Name: history.StreamName(0), Subjects: []string{"wsn.u.0.>"}, AllowDirect: true,
			Metadata: map[string]string{"wsnode.shards": "1"},
		}
		change(&config)
		if _, err := js.CreateStream(within(t, time.Minute), config); err != nil {
			t.Fatal(err)
		}
		if _, err := history.Open(within(t, time.Minute), nc, history.Config{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func TestPodsThatStartTogetherAgreeOnTheStreams(t *testing.T) {
	servers := natstest.Cluster(t, 3)
	const pods = 6
	results := make(chan error, pods)
	for i := range pods {
		nc := natstest.ConnectURL(t, servers.ServerURL(i%3))
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			h, err := history.Open(ctx, nc, history.Config{Shards: 1 + i%3, Replicas: 3, MaxBytes: int64(1+i) << 20})
			if err == nil {
				h.Close()
			}
			results <- err
		}()
	}
	for range pods {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestStreamsOfADomainAreUsed(t *testing.T) {
	servers := natstest.Server(t, func(o *server.Options) { o.JetStreamDomain = "hub" })
	h := open(t, servers, history.Config{Domain: "hub"})
	s := subject("d")
	stored(t, h, s, "a")
	seq := stored(t, h, s, "b")
	if err := h.PurgeBelow(within(t, time.Minute), s, seq); err != nil {
		t.Fatal(err)
	}
	if got, _ := load(t, h, s); fmt.Sprint(got) != "[b]" {
		t.Errorf("got %v", got)
	}
}

func TestSubjectsAreListed(t *testing.T) {
	h := open(t, natstest.Server(t), history.Config{Shards: 2})
	for i := range 20 {
		stored(t, h, fmt.Sprintf("wsn.u.%d.aws-eu-west-1.t.a.d%d.e", i%2, i), "x")
	}
	stored(t, h, subject("d12"), "another")
	listed, err := list(t, h, "")
	if err != nil || len(listed) != 20 || listed[subject("d12")] != 2 || listed[subject("d4")] != 1 {
		t.Errorf("listed %v, %v", listed, err)
	}
	few, err := list(t, h, "wsn.u.*.*.*.*.d12.*")
	if err != nil || len(few) != 1 || few[subject("d12")] != 2 {
		t.Errorf("filtered: %v, %v", few, err)
	}
	if _, err := list(t, h, "x.>"); err == nil {
		t.Error("a foreign filter was taken")
	}
	for range h.Subjects(within(t, time.Minute), "") {
		break // the caller may have had enough
	}
}

// The subjects of other shards are there although one has lost its stream: a sweep goes on.
func TestSubjectsAreListedBesideAStreamThatIsMissing(t *testing.T) {
	servers := natstest.Server(t)
	h := open(t, servers, history.Config{Shards: 3})
	for shard := range 3 {
		stored(t, h, fmt.Sprintf("wsn.u.%d.aws-eu-west-1.t.a.d.e", shard), "x")
	}
	js, err := jetstream.New(natstest.Connect(t, servers))
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(within(t, time.Minute), history.StreamName(1)); err != nil {
		t.Fatal(err)
	}
	var listed []string
	missing := 0
	for s, err := range h.Subjects(within(t, time.Minute), "") {
		if errors.Is(err, history.ErrStreamMissing) {
			missing++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, s.Name)
	}
	if missing != 1 || fmt.Sprint(listed) != "[wsn.u.0.aws-eu-west-1.t.a.d.e wsn.u.2.aws-eu-west-1.t.a.d.e]" {
		t.Errorf("listed %v beside %d that are missing", listed, missing)
	}
	for filter, missing := range map[string]bool{"wsn.u.0.*.*.*.*.*": false, "wsn.u.1.*.*.*.*.*": true, "wsn.u.*.*.*.*.*.*": true} {
		if _, err := list(t, h, filter); errors.Is(err, history.ErrStreamMissing) != missing {
			t.Errorf("of %s it says %v", filter, err)
		}
	}
}

// list collects what Subjects yields.
func list(t *testing.T, h *history.History, filter string) (map[string]uint64, error) {
	t.Helper()
	listed := map[string]uint64{}
	for s, err := range h.Subjects(within(t, time.Minute), filter) {
		if err != nil {
			return listed, err
		}
		listed[s.Name] = s.Messages
	}
	return listed, nil
}

func TestDropLeavesWhatIsAppendedAfterIt(t *testing.T) {
	h := open(t, natstest.Server(t), history.Config{})
	s := subject("d")
	stored(t, h, s, "old")
	last, err := h.Last(within(t, time.Minute), s)
	if err != nil {
		t.Fatal(err)
	}
	stored(t, h, s, "new")
	if err := h.PurgeBelow(within(t, time.Minute), s, last+1); err != nil {
		t.Fatal(err)
	}
	if got, _ := load(t, h, s); fmt.Sprint(got) != "[new]" {
		t.Errorf("got %v", got)
	}
	if last, err := h.Last(within(t, time.Minute), subject("nothing")); last != 0 || err != nil {
		t.Errorf("last of nothing: %d, %v", last, err)
	}
	if err := h.Drop(within(t, time.Minute), subject("nothing")); err != nil {
		t.Errorf("drop of nothing: %v", err)
	}
}

func TestLoadEndsThoughWritersAreFaster(t *testing.T) {
	h := open(t, natstest.Server(t), history.Config{AckWait: time.Minute})
	s := subject("d")
	for range 2000 {
		stored(t, h, s, "before")
	}
	n := 0
	// Whoever reads a message causes another: such a reader never catches up.
	last, err := h.LoadFrom(within(t, 60*time.Second), s, 1, func(uint64, []byte) error {
		n++
		stored(t, h, s, "during")
		return nil
	})
	if err != nil || last < 2000 || n > 100_000 {
		t.Errorf("%d messages, last %d, %v", n, last, err)
	}
}
