package natstest

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func store(t *testing.T, nc *nats.Conn, replicas int) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b", Replicas: replicas})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func TestRestartedServersKeepTheirPortsAndWhatTheyStored(t *testing.T) {
	for name, i := range map[string]*Instance{"one": Server(t), "three": Cluster(t, 3)} {
		t.Run(name, func(t *testing.T) {
			nc := Connect(t, i)
			kv := store(t, nc, i.Len())
			if _, err := kv.PutString(t.Context(), "k", "v"); err != nil {
				t.Fatal(err)
			}
			for k := range i.Len() {
				i.Restart(k)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for {
				attempt, cancel := context.WithTimeout(ctx, time.Second)
				e, err := kv.Get(attempt, "k")
				cancel()
				if err == nil && string(e.Value()) == "v" {
					return
				}
				if ctx.Err() != nil {
					t.Fatalf("read after the restarts: %v", err)
				}
			}
		})
	}
}

func TestProxyDelaysCutsRefusesAndHeals(t *testing.T) {
	i := Server(t)
	p := NewProxy(t, i.URL)
	nc := ConnectURL(t, p.URL)
	direct := Connect(t, i)
	arrived, err := direct.SubscribeSync("x")
	if err != nil {
		t.Fatal(err)
	}
	if err := direct.Flush(); err != nil {
		t.Fatal(err)
	}

	p.SetDelay(40 * time.Millisecond)
	if rtt, err := nc.RTT(); err != nil || rtt < 80*time.Millisecond {
		t.Fatalf("round trip over the slow link: %v, %v", rtt, err)
	}
	p.SetDelay(0)

	p.Cut()
	if err := nc.Publish("x", []byte("late")); err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(100 * time.Millisecond); err == nil {
		t.Fatal("a flush went through the cut")
	}
	nc.Close()
	if _, err := arrived.NextMsg(100 * time.Millisecond); err == nil {
		t.Fatal("a message went through the cut")
	}
	p.Heal()
	if m, err := arrived.NextMsg(time.Minute); err != nil || string(m.Data) != "late" {
		t.Fatalf("what was sent before the cut arrives on healing: %v", err)
	}

	nc = ConnectURL(t, p.URL)
	p.CutReplies()
	if err := nc.Publish("x", []byte("heard")); err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(100 * time.Millisecond); err == nil {
		t.Fatal("an answer went through the cut")
	}
	if m, err := arrived.NextMsg(time.Minute); err != nil || string(m.Data) != "heard" {
		t.Fatalf("requests go through when only replies are cut: %v", err)
	}

	// A client takes the answers to its pings in the order in which they come: those that were
	// held back have all come when it hears itself. What may pass may be the server's own ping,
	// of which a client gets one in its first two minutes.
	echo, err := nc.SubscribeSync("echo")
	if err != nil {
		t.Fatal(err)
	}
	for tries := 1; ; tries++ {
		p.Heal()
		if err := nc.Publish("echo", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := echo.NextMsg(time.Minute); err != nil {
			t.Fatalf("an answer after healing: %v", err)
		}
		p.CutRepliesAfter(1)
		if err = nc.FlushTimeout(20 * time.Second); err == nil {
			break
		}
		if tries == 2 {
			t.Fatalf("the first answer of one that may pass: %v", err)
		}
	}
	if err := nc.FlushTimeout(100 * time.Millisecond); err == nil {
		t.Fatal("the second answer came too")
	}

	p.Refuse()
	if c, err := nats.Connect(p.URL, nats.Timeout(time.Second)); err == nil {
		c.Close()
		t.Fatal("connected to a proxy that refuses")
	}
	p.Heal()
	ConnectURL(t, p.URL)

	p.Reset()
	deadline := time.Now().Add(time.Minute)
	for !nc.IsConnected() {
		if time.Now().After(deadline) {
			t.Fatal("not connected again after the reset")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
