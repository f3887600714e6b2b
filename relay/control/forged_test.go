package control_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/test/natstest"
)

// Whoever may use JetStream can have it publish to any subject: what is stored,
// and its own answers.
func TestWhatJetStreamPublishesDrainsNoNode(t *testing.T) {
	i := natstest.Server(t, func(o *server.Options) { o.JetStream = true })
	f := &fake{name: "a"}
	s, err := control.Serve(natstest.Connect(t, i, nats.NoEcho()), f, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	nc, subject := natstest.Connect(t, i), control.Subject(control.DrainVerb, "a")
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "s", Subjects: []string{"s.>"}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s.a", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	witness, err := nc.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	forge := func(to, request string) {
		t.Helper()
		if err := nc.PublishRequest(to, subject, []byte(request)); err != nil {
			t.Fatal(err)
		}
		if _, err := witness.NextMsg(time.Minute); err != nil {
			t.Fatalf("%s published nothing: %v", to, err)
		}
	}
	forge("$JS.API.INFO", "")
	forge("$JS.API.DIRECT.GET.s", `{"seq":1}`)
	forge("$JS.API.STREAM.MSG.GET.s", `{"seq":1}`)
	forge("s.b", "{}") // the acknowledgement
	for _, ack := range []string{"none", "explicit"} {
		created, err := nc.Request("$JS.API.CONSUMER.CREATE.s",
			[]byte(`{"stream_name":"s","config":{"deliver_subject":"`+subject+`","deliver_policy":"all","filter_subject":"s.a","ack_policy":"`+ack+`"}}`), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := witness.NextMsg(time.Minute); err != nil || string(m.Data) != "{}" {
			t.Fatalf("the consumer delivers nothing: %v, %s", err, created.Data)
		}
	}
	// Requests to one endpoint are heard in their order.
	if err := control.NewClient(nc, time.Minute).Drain(t.Context(), "a", time.Hour, 0); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drains != 1 || f.drained != time.Hour {
		t.Errorf("drained %d times, last over %s", f.drains, f.drained)
	}
}
