package relay

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/test/natstest"
)

// oneNode is what a node with one registry needs.
func oneNode(t *testing.T, natsURL, registryURL string) Options {
	t.Helper()
	verifier, err := authn.New(authn.Config{KeySet: []byte(`{"keys":[]}`)})
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		PublicURL: "wss://eu.example", NATS: bus.ConnectConfig{URL: natsURL},
		Registries: map[docid.LicenseRegion]kvpin.Source{"aws-eu-west-1": {URL: registryURL, Create: true}},
		Config:     Config{Region: "eu-central-1", Node: "a", Verifier: verifier, Grace: time.Second},
	}
}

func startedNode(t *testing.T, c Options) *Node {
	t.Helper()
	p, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// writerFunc takes the lines of a log.
type writerFunc func([]byte)

func (f writerFunc) Write(line []byte) (int, error) { f(line); return len(line), nil }

func TestASecondProcessUnderOneNodeIDDoesNotStart(t *testing.T) {
	servers := natstest.Server(t)
	c := oneNode(t, servers.URL, servers.URL)
	first := startedNode(t, c)
	_, err := Start(t.Context(), c)
	if twin := (*twinError)(nil); !errors.As(err, &twin) || twin.other.ID != first.links.twins.self.ID || !strings.Contains(err.Error(), "another process runs as node a: on host ") {
		t.Errorf("the second process: %v", err)
	}
	other := c
	other.Config.Node = "b"
	startedNode(t, other)
	if held, missing := first.links.registry.Missing(); held != 1 || missing != nil {
		t.Errorf("the first process has %d leases, %v", held, missing)
	}
}

func TestOfTwoProcessesTheOneWithFewerLeasesEndsAndElseTheLaterOne(t *testing.T) {
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	for name, c := range map[string]struct {
		stays, ends process
	}{
		"leases":  {process{"a", "", 1, late, 2}, process{"b", "", 2, early, 1}},
		"start":   {process{"b", "", 1, early, 1}, process{"a", "", 2, late, 1}},
		"a draw":  {process{"a", "", 1, early, 1}, process{"b", "", 2, early, 1}},
		"no zone": {process{"b", "", 1, early.UTC(), 1}, process{"c", "", 2, early.In(time.FixedZone("", 3600)), 1}},
	} {
		if c.stays.yields(c.ends) || !c.ends.yields(c.stays) {
			t.Errorf("%s: %v, %v", name, c.stays.yields(c.ends), c.ends.yields(c.stays))
		}
	}
}

func TestAProcessThatMeetsItsTwinGivesWayWhenTheTwinHasTheLease(t *testing.T) {
	servers := natstest.Server(t)
	nc, err := bus.Connect(t.Context(), bus.ConnectConfig{URL: servers.URL})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.New(nc, bus.Config{Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { b.Close(); b.Conn().Close() }()
	tw := newTwins(b, "a", slog.New(slog.DiscardHandler))
	one := func() int { return 1 }
	tw.leases.Store(&one)
	if err := tw.answer(); err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 100)
	leases := make(chan int, 1)
	leases <- 0
	natstest.Connect(t, servers).Subscribe(tw.subject(), func(m *nats.Msg) {
		n := <-leases
		leases <- n
		answer, _ := json.Marshal(process{ID: "other", Host: "elsewhere", PID: 7, Started: time.Now().Add(time.Hour), Leases: n})
		_ = m.Respond(answer)
		asked <- struct{}{}
	})
	met := make(chan error, 1)
	go func() { met <- tw.meet(t.Context(), time.Millisecond) }()
	for range 3 { // it stays beside a twin without leases
		select {
		case err := <-met:
			t.Fatal(err)
		case <-asked:
		}
	}
	<-leases
	leases <- 2
	if err := <-met; err == nil || !strings.Contains(err.Error(), "on host elsewhere, process 7") {
		t.Errorf("met the twin: %v", err)
	}
}

func TestAPodTakesNoClientsBeforeItHasALeaseInEachRegistry(t *testing.T) {
	servers := natstest.Server(t)
	proxy := natstest.NewProxy(t, servers.URL)
	proxy.Refuse()
	c := oneNode(t, servers.URL, proxy.URL)
	const near = docid.LicenseRegion("aws-us-east-1")

	t.Run("until it has", func(t *testing.T) {
		c := c
		given := make(chan struct{}, 1)
		c.RegistryWait, c.Config.Log = time.Hour, slog.New(slog.NewTextHandler(writerFunc(func(line []byte) {
			if strings.Contains(string(line), "going on without it") {
				given <- struct{}{}
			}
		}), nil))
		started := make(chan *Node)
		go func() {
			p, err := Start(t.Context(), c)
			if err != nil {
				t.Error(err)
			}
			started <- p
		}()
		<-given // from here on, nothing but the lease is missing
		proxy.Heal()
		p := <-started
		if held, missing := p.links.registry.Missing(); held != 1 || missing != nil {
			t.Errorf("%d leases, %v", held, missing)
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		proxy.Refuse()
	})
	t.Run("but not for long beside another lease", func(t *testing.T) {
		c := c
		c.RegistryWait = time.Millisecond
		c.Registries = map[docid.LicenseRegion]kvpin.Source{"aws-eu-west-1": {URL: proxy.URL, Create: true}, near: {URL: servers.URL, Create: true}}
		p := startedNode(t, c)
		if held, missing := p.links.registry.Missing(); held != 1 || missing == nil || !p.links.registry.Reachable(near) {
			t.Errorf("%d leases, %v", held, missing)
		}
	})
	t.Run("unless all are lost and somebody says so", func(t *testing.T) {
		c := c
		c.Config.Node, c.RegistryWait = "b", 0
		if p := startedNode(t, c); p.links.registry.Reachable("aws-eu-west-1") {
			t.Error("it has a lease: nothing was tested")
		}
	})
	t.Run("and can be stopped meanwhile", func(t *testing.T) {
		c := c
		c.Config.Node, c.RegistryWait = "c", time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { _, err := Start(ctx, c); ended <- err }()
		cancel()
		if err := <-ended; !errors.Is(err, kvpin.ErrUnavailable) && !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}
