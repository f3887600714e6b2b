package durability

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/natstest"
)

// syncStatus is the type of the message that asks whether everything sent before it is
// saved, and of its answer (docs/protocol.md).
const syncStatus = 102

// saves is what an author asked and was told. Guarded by client.mu.
type saves struct {
	asked []time.Time // when, by question
	told  uint64      // characters that the latest answer speaks of
	heard int         // answers
	took  time.Duration
}

// askSaved asks whether everything that the client typed is saved. The question holds
// its number and how many characters that is.
func (c *client) askSaved() {
	c.mu.Lock()
	question := binary.AppendUvarint(nil, uint64(len(c.saves.asked)))
	c.saves.asked = append(c.saves.asked, time.Now())
	c.mu.Unlock()
	question = binary.AppendUvarint(question, c.author.clock)
	c.write(wire.AppendBytes([]byte{syncStatus}, question))
}

// hearSaved takes an answer. Callers hold mu.
func (c *client) hearSaved(question []byte) {
	number, n := binary.Uvarint(question)
	characters, m := binary.Uvarint(question[max(n, 0):])
	if n <= 0 || m <= 0 || number >= uint64(len(c.saves.asked)) {
		c.tb.Errorf("the answer % x to no question", question)
		return
	}
	c.saves.heard++
	c.saves.told = max(c.saves.told, characters)
	c.saves.took = max(c.saves.took, time.Since(c.saves.asked[number]))
}

// told is of how many characters the author has been told that they are saved.
func (c *client) told() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.saves.told
}

// typeAndAsk types every interval, and asks after every n-th time, until stop is
// closed or the connection has ended.
func (c *client) typeAndAsk(stop <-chan struct{}, interval time.Duration, n int) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-tick.C:
			c.typeText("typed ")
			if i%n == 0 {
				c.askSaved()
			}
		case <-c.done:
			return
		case <-stop:
			return
		}
	}
}

// promise is what the author of a document was told before everything died.
type promise struct {
	document string
	client   uint64
	told     uint64
}

// Every node is killed while everybody types and asks: in every other round NATS with
// them, in the others after the history has refused edits for a while. No author returns.
func TestWhatAuthorsWereToldIsSavedOutlivesEverything(t *testing.T) {
	rounds := 4
	if soak() {
		rounds = 50
	}
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	keys := issuer.New(t)
	token := keys.Token(nil)
	region := cluster.StartNATSServers(t, 1)[0]
	start := func(name string, round int) *cluster.Node {
		return cluster.Serve{
			Name: fmt.Sprintf("%s-%d", name, round), Region: "eu-central-1", NATS: region.URL, JWKS: keys.JWKS,
			Flags: []string{"--admin-listen", "off"},
		}.StartHealthy(t)
	}
	kept, told := 0, uint64(0)
	nodes := []*cluster.Node{start("a", 0), start("b", 0)}
	for round := range rounds {
		typing := typeAndBeTold(t, nodes, token, round)
		full := round%2 == 0
		if full {
			refuseAppends(t, region.URL, true)
		}
		time.Sleep(time.Duration(random.Int64N(int64(time.Second)))) // the moment of death is what is random
		promises := typing.killAll(nodes)
		if full {
			refuseAppends(t, region.URL, false)
		} else {
			region.Kill()
			region.Start()
			region.WaitTaking()
		}
		nodes = []*cluster.Node{start("a", round+1), start("b", round+1)}
		for i, p := range promises {
			stranger := dial(t, nodes[i%2].WS(), p.document, token)
			if has := known(stranger.store.StateVector(), p.client); has < p.told {
				t.Errorf("round %d: an author was told that %d characters are saved, %d are there", round, p.told, has)
			}
			stranger.leave()
			kept, told = kept+1, told+p.told
		}
	}
	t.Logf("%d authors were told that %d characters are saved", kept, told)
}

// authors type into the documents of a round.
type authors struct {
	clients   []*client
	documents []string // by client
	typing    sync.WaitGroup
	stop      chan struct{}
}

// typeAndBeTold has two authors on each node type into each of two documents of a
// round, and waits until all have been told something.
func typeAndBeTold(t *testing.T, nodes []*cluster.Node, token string, round int) *authors {
	t.Helper()
	a := &authors{stop: make(chan struct{})}
	for d := range 2 {
		for w := range 4 {
			document := fmt.Sprintf("round-%d-%d", round, d)
			c := dial(t, nodes[w%len(nodes)].WS(), document, token)
			a.clients, a.documents = append(a.clients, c), append(a.documents, document)
			a.typing.Go(func() { c.typeAndAsk(a.stop, 5*time.Millisecond, 1) })
		}
	}
	for _, c := range a.clients {
		c.wait("be told that something is saved", func() bool { return c.saves.heard > 0 })
	}
	return a
}

// killAll kills all nodes, and returns what the authors were told by then.
func (a *authors) killAll(nodes []*cluster.Node) (promises []promise) {
	var dying sync.WaitGroup
	for _, n := range nodes {
		dying.Go(n.Kill)
	}
	dying.Wait()
	close(a.stop)
	a.typing.Wait()
	for i, c := range a.clients {
		promises = append(promises, promise{document: a.documents[i], client: c.author.client, told: c.told()})
		c.leave()
	}
	return promises
}

// refuseAppends makes every history stream of a region full, or takes the limit away.
func refuseAppends(t *testing.T, url string, full bool) {
	t.Helper()
	js, err := jetstream.New(natstest.ConnectURL(t, url))
	if err != nil {
		t.Fatal(err)
	}
	streams := js.ListStreams(t.Context())
	for s := range streams.Info() {
		if strings.HasPrefix(s.Config.Name, "KV_") {
			continue
		}
		s.Config.MaxBytes = -1
		if full {
			s.Config.MaxBytes = 1
		}
		if _, err := js.UpdateStream(t.Context(), s.Config); err != nil {
			t.Fatal(err)
		}
	}
	if err := streams.Err(); err != nil {
		t.Fatal(err)
	}
}

// While everybody types without pause, everybody is told; while the history takes
// nothing, nobody is; and when it does again, everybody is, for all of it.
func TestNobodyIsToldThatWhatTheHistoryRefusesIsSaved(t *testing.T) {
	typists, refusal := 20, time.Second
	if soak() {
		typists, refusal = 200, time.Minute
	}
	pause := time.Duration(typists) * 5 * time.Millisecond // 200 edits a second in all
	i := natstest.Server(t)
	p := startPod(t, i, "a", nil)
	stop := make(chan struct{})
	var typing sync.WaitGroup
	var all []*client
	for range typists {
		c := dial(t, p.url, "busy", "")
		all = append(all, c)
		typing.Go(func() { c.typeAndAsk(stop, pause, 2) })
	}
	// Nobody else is in this one: its answers take what it takes to be durable.
	lone := dial(t, p.url, "calm", "")
	typing.Go(func() { lone.typeAndAsk(stop, pause, 2) })
	for _, c := range append(all, lone) {
		c.wait("be told three times while all type", func() bool { return c.saves.heard >= 3 })
	}
	durable := lone.longest()
	slowest := time.Duration(0)
	for _, c := range all {
		slowest = max(slowest, c.longest())
	}
	t.Logf("an answer took up to %v where %d type, %v where one does", slowest, typists, durable)
	// Of latency only a run that has the machine to itself can tell.
	if soak() && slowest > durable+100*time.Millisecond {
		t.Errorf("where %d type without pause, an answer took %v; durable is an edit after %v", typists, slowest, durable)
	}

	refuseAppends(t, i.URL, true)
	close(stop)
	typing.Wait()
	for _, c := range all {
		c.typeText("refused")
		c.askSaved()
	}
	time.Sleep(refusal) // that nothing is said has no event
	for n, c := range all {
		if c.told() >= c.author.clock {
			t.Fatalf("author %d was told that what the history refuses is saved", n)
		}
	}
	refuseAppends(t, i.URL, false)
	released := time.Now()
	for _, c := range all {
		c.wait("be told that all is saved", func() bool { return c.saves.told == c.author.clock })
	}
	took := time.Since(released)
	t.Logf("%d authors were told %v after the history took edits again", typists, took.Round(time.Millisecond))
	if soak() && took > time.Second {
		t.Errorf("it took %v until everybody was told", took)
	}
}

// longest is how long the slowest answer took.
func (c *client) longest() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.saves.took
}
