package bus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/natsd"
	"github.com/wsnode/wsnode/test/natstest"
)

// impatient finds a dead server soon.
var impatient = []nats.Option{nats.PingInterval(50 * time.Millisecond), nats.ReconnectWait(10 * time.Millisecond), nats.ReconnectJitter(0, 0)}

func openWith(t *testing.T, connect bus.ConnectConfig, config bus.Config) *bus.Bus {
	t.Helper()
	nc, err := bus.Connect(within(t, time.Minute), connect)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	b, err := bus.New(nc, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestConnectWaitsForTheServer(t *testing.T) {
	servers := natstest.Server(t)
	servers.Stop(0)
	connected := make(chan error, 1)
	go func() {
		nc, err := bus.Connect(within(t, time.Minute), bus.ConnectConfig{URL: servers.URL})
		if err == nil {
			nc.Close()
		}
		connected <- err
	}()
	time.Sleep(50 * time.Millisecond)
	servers.Start(0)
	if err := <-connected; err != nil {
		t.Fatal(err)
	}
	servers.Stop(0)
	if _, err := bus.Connect(within(t, 100*time.Millisecond), bus.ConnectConfig{URL: servers.URL}); err == nil {
		t.Fatal("connected to a stopped server")
	}
	if _, err := bus.Connect(context.Background(), bus.ConnectConfig{}); err == nil {
		t.Fatal("connected to nothing")
	}
}

func TestConnectRemindsOfTheServerThatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		ctx, cancel := context.WithTimeout(t.Context(), 70*time.Second)
		defer cancel()
		_, err := bus.Connect(ctx, bus.ConnectConfig{
			URL: "nats://ann:secret@127.0.0.1:1,token@127.0.0.1:2", Log: slog.New(slog.NewTextHandler(&said, nil)),
		})
		if err == nil || strings.Count(said.String(), "connect to NATS at 127.0.0.1:1,127.0.0.1:2: ") != 3 {
			t.Errorf("%v, and in 70 s: %s", err, said.String())
		}
		if strings.Contains(said.String()+err.Error(), "secret") || strings.Contains(said.String(), "token") {
			t.Errorf("a password was said: %s", said.String())
		}
	})
}

func TestEmbeddedServerNeedsNoSocket(t *testing.T) {
	server, err := natsd.Start(natsd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	b := openWith(t, bus.ConnectConfig{InProcess: server}, bus.Config{})
	came := collect(t, b, "x")
	// What was published is not lost by closing at once.
	for i := range 20 {
		nc, err := bus.Connect(within(t, time.Minute), bus.ConnectConfig{InProcess: server})
		if err != nil {
			t.Fatal(err)
		}
		a, err := bus.New(nc, bus.Config{})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, a, "x", fmt.Sprint(i))
		a.Close()
		nc.Close()
		expect(t, came, message{"x", "", fmt.Sprint(i)})
	}
}

func TestReconnectIsReportedAndSubscriptionsGoOn(t *testing.T) {
	servers := natstest.Server(t)
	proxy := natstest.NewProxy(t, servers.URL)
	disturbed := make(chan struct{}, 10)
	b := openWith(t, bus.ConnectConfig{URL: proxy.URL, Options: impatient}, bus.Config{Disturbed: func() { disturbed <- struct{}{} }})
	a := open(t, servers.URL, bus.Config{})
	came := collect(t, b, "x")
	for name, fault := range map[string]func(){"reset": proxy.Reset, "black hole": proxy.Cut, "refused": proxy.Refuse} {
		for len(disturbed) > 0 {
			<-disturbed
		}
		fault()
		if name != "reset" {
			for b.Connected() {
				time.Sleep(time.Millisecond)
			}
			began := time.Now()
			if err := b.Publish("x", nil); !errors.Is(err, bus.ErrDisconnected) {
				t.Errorf("%s: publish: %v", name, err)
			}
			if err := b.Flush(context.Background()); !errors.Is(err, bus.ErrDisconnected) {
				t.Errorf("%s: flush: %v", name, err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s: publish waited %v", name, took)
			}
		}
		proxy.Heal()
		select {
		case <-disturbed:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: not reported", name)
		}
		flush(t, b)
		publish(t, a, "x", name)
		expect(t, came, message{"x", "", name})
	}
	if b.Stats().Reconnects < 3 {
		t.Errorf("%d reconnects counted", b.Stats().Reconnects)
	}
}

// How far a hollow server goes.
const (
	silent = iota // takes connections
	deaf          // says hello, then reads nothing
	blank         // reads everything and answers pings
)

// hollow is a server without content.
func hollow(t *testing.T, depth int) (url string, connections *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	connections = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			if connections.Add(1); depth == silent {
				continue
			}
			go pretend(c, depth)
		}
	}()
	return "nats://" + l.Addr().String(), connections
}

func pretend(c net.Conn, depth int) {
	fmt.Fprintf(c, "INFO {\"max_payload\":1048576,\"headers\":true,\"proto\":1}\r\n")
	for in := bufio.NewReader(c); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if strings.HasPrefix(line, "PING") {
			fmt.Fprintf(c, "PONG\r\n")
			if depth == deaf {
				return
			}
		}
	}
}

func TestPublishNeverWaitsForAServerThatReadsNothing(t *testing.T) {
	url, _ := hollow(t, deaf)
	b := openWith(t, bus.ConnectConfig{URL: url, Options: []nats.Option{nats.PingInterval(time.Hour)}}, bus.Config{MaxBacklog: 64 << 20})
	data := make([]byte, 64<<10)
	var longest time.Duration
	var err error
	sent := 0
	for err == nil && sent < 1<<30 {
		began := time.Now()
		if err = b.Publish("x", data); err == nil {
			sent += len(data)
		}
		longest = max(longest, time.Since(began))
	}
	if !errors.Is(err, bus.ErrBacklog) {
		t.Errorf("after %d bytes: %v", sent, err)
	}
	if longest > 5*time.Second {
		t.Errorf("a publish took %v", longest)
	}
	if backlog := b.Stats().Backlog; backlog < 50<<20 || backlog > 70<<20 {
		t.Errorf("%d bytes wait", backlog)
	}
}

func TestPublishNeverWaitsForAReconnect(t *testing.T) {
	servers := natstest.Server(t)
	url, connections := hollow(t, silent)
	b := openWith(t, bus.ConnectConfig{URL: servers.URL + "," + url, Options: append(impatient, nats.DontRandomize(), nats.Timeout(30*time.Second))}, bus.Config{})
	servers.Stop(0)
	for connections.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	// nats.go waits for the greeting now, and holds its lock meanwhile.
	began := time.Now()
	if err := b.Publish("x", nil); !errors.Is(err, bus.ErrDisconnected) {
		t.Errorf("publish: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("publish waited %v", took)
	}
}

func TestMessageOverThePayloadLimitIsRefused(t *testing.T) {
	b := open(t, natstest.Server(t).URL, bus.Config{})
	if err := b.Publish("x", make([]byte, b.MaxPayload()+1)); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if err := b.Publish("x", make([]byte, b.MaxPayload())); err != nil {
		t.Errorf("got %v", err)
	}
	flush(t, b)
}

func TestPodsOfAClusterReachEachOther(t *testing.T) {
	servers := natstest.Cluster(t, 3)
	var pods []*bus.Bus
	for k := range 3 {
		pods = append(pods, open(t, servers.ServerURL(k), bus.Config{Node: docid.NodeID(fmt.Sprint("n", k))}))
	}
	came := collect(t, pods[2], bus.PodSubject("n2"))
	for range 200 {
		publish(t, pods[0], pods[2].PodSubject(), "hello")
		select {
		case m := <-came:
			if m.subject != "wsn.p.n2" {
				t.Fatalf("came on %s", m.subject)
			}
			return
		case <-time.After(50 * time.Millisecond): // the routes do not know the interest yet
		}
	}
	t.Fatal("nothing came")
}
