package main

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
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/test/natstest"
)

// onePod is what a pod with one registry needs.
func onePod(t *testing.T, natsURL, registryURL string) podConfig {
	t.Helper()
	verifier, err := authn.New(authn.Config{KeySet: []byte(`{"keys":[]}`)})
	if err != nil {
		t.Fatal(err)
	}
	return podConfig{
		region: "eu-central-1", node: "a", publicURL: "wss://eu.example", nats: bus.ConnectConfig{URL: natsURL},
		registries: map[docid.LicenseRegion]kvpin.Source{"aws-eu-west-1": {URL: registryURL, Create: true}},
		relay:      relay.Config{Verifier: verifier, Grace: time.Second}, log: slog.New(slog.DiscardHandler),
	}
}

func startedPod(t *testing.T, c podConfig) *pod {
	t.Helper()
	p, err := startPod(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.stop(context.Background()); err != nil {
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
	c := onePod(t, servers.URL, servers.URL)
	first := startedPod(t, c)
	_, err := startPod(t.Context(), c)
	if twin := (*twinError)(nil); !errors.As(err, &twin) || twin.other.ID != first.twins.self.ID || !strings.Contains(err.Error(), "another process runs as node a: on host ") {
		t.Errorf("the second process: %v", err)
	}
	other := c
	other.node = "b"
	startedPod(t, other)
	if held, missing := first.registry.Missing(); held != 1 || missing != nil {
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
	c := onePod(t, servers.URL, proxy.URL)
	const near = docid.LicenseRegion("aws-us-east-1")

	t.Run("until it has", func(t *testing.T) {
		c := c
		given := make(chan struct{}, 1)
		c.wait, c.log = time.Hour, slog.New(slog.NewTextHandler(writerFunc(func(line []byte) {
			if strings.Contains(string(line), "going on without it") {
				given <- struct{}{}
			}
		}), nil))
		started := make(chan *pod)
		go func() {
			p, err := startPod(t.Context(), c)
			if err != nil {
				t.Error(err)
			}
			started <- p
		}()
		<-given // from here on, nothing but the lease is missing
		proxy.Heal()
		p := <-started
		if held, missing := p.registry.Missing(); held != 1 || missing != nil {
			t.Errorf("%d leases, %v", held, missing)
		}
		if err := p.stop(context.Background()); err != nil {
			t.Error(err)
		}
		proxy.Refuse()
	})
	t.Run("but not for long beside another lease", func(t *testing.T) {
		c := c
		c.wait = time.Millisecond
		c.registries = map[docid.LicenseRegion]kvpin.Source{"aws-eu-west-1": {URL: proxy.URL, Create: true}, near: {URL: servers.URL, Create: true}}
		p := startedPod(t, c)
		if held, missing := p.registry.Missing(); held != 1 || missing == nil || !p.registry.Reachable(near) {
			t.Errorf("%d leases, %v", held, missing)
		}
	})
	t.Run("unless all are lost and somebody says so", func(t *testing.T) {
		c := c
		c.node, c.wait = "b", 0
		if p := startedPod(t, c); p.registry.Reachable("aws-eu-west-1") {
			t.Error("it has a lease: nothing was tested")
		}
	})
	t.Run("and can be stopped meanwhile", func(t *testing.T) {
		c := c
		c.node, c.wait = "c", time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { _, err := startPod(ctx, c); ended <- err }()
		cancel()
		if err := <-ended; !errors.Is(err, kvpin.ErrUnavailable) && !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}
