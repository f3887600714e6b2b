package history_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestDocumentedStreamIsWhatNodesCreateAndAccept(t *testing.T) {
	page, err := os.ReadFile("../../docs/history.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```json\n")
	block, _, found := strings.Cut(rest, "```")
	var documented jetstream.StreamConfig
	if err := json.Unmarshal([]byte(block), &documented); !found || err != nil {
		t.Fatalf("docs/history.md has no stream: %v", err)
	}
	ctx := within(t, time.Minute)

	byHand := natstest.Server(t)
	js := jetStream(t, natstest.Connect(t, byHand))
	if _, err := js.CreateStream(ctx, documented); err != nil {
		t.Fatal(err)
	}
	h := open(t, byHand, history.Config{})
	stored(t, h, subject("d"), "x")

	created := natstest.Server(t)
	open(t, created, history.Config{})
	stream, err := jetStream(t, natstest.Connect(t, created)).Stream(ctx, history.StreamName(0))
	if err != nil {
		t.Fatal(err)
	}
	same, err := js.Stream(ctx, history.StreamName(0))
	if err != nil {
		t.Fatal(err)
	}
	want, got := same.CachedInfo().Config, stream.CachedInfo().Config
	want.Description = got.Description
	delete(got.Metadata, "wsnode.id") // random; a stream that an operator creates needs none
	if a, b := asJSON(t, want), asJSON(t, got); a != b {
		t.Errorf("documented: %s\ncreated:    %s", a, b)
	}
}

func jetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
