package history_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
)

var storedDocument = docid.Document{License: "aws-eu-west-1", Tenant: "acme", App: "notes", Name: "todo"}

func TestStoredLivesHaveStreamsOfTheirOwn(t *testing.T) {
	servers := natstest.Server(t)
	l := history.Lives{Plain: open(t, servers, history.Config{}), Stored: open(t, servers, history.Config{Stored: true})}
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	plain, kept := storedDocument.UpdatesSubject(0, "e1"), storedDocument.UpdatesSubject(0, docid.NewStoredEpoch("e1"))
	for subject, h := range map[string]*history.History{plain: l.Plain, kept: l.Stored} {
		done := make(chan error, 1)
		if err := l.Append(subject, []byte("x"), func(_ uint64, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if last, err := l.Last(t.Context(), subject); err != nil || last != 1 {
			t.Errorf("%s ends at %d: %v", subject, last, err)
		}
		for s, err := range h.Subjects(t.Context(), "") {
			if err != nil || s.Name != subject {
				t.Errorf("the history of %s has %s: %v", subject, s.Name, err)
			}
		}
	}
	found := 0
	for s, err := range l.Stored.Subjects(t.Context(), storedDocument.LivesFilter(0)) {
		if err != nil || s.Name != kept {
			t.Errorf("%s: %v", s.Name, err)
		}
		found++
	}
	if found != 1 {
		t.Errorf("found %d lives of the document", found)
	}
}

func TestAMessageIsStoredOnlyBehindTheOneThatIsExpected(t *testing.T) {
	h := open(t, natstest.Server(t), history.Config{Stored: true})
	subject := storedDocument.UpdatesSubject(0, docid.NewStoredEpoch("e1"))
	ctx := within(t, time.Minute)
	first, err := h.AppendAfter(ctx, subject, []byte("one"), 0, 0)
	if err != nil || first == 0 {
		t.Fatalf("at %d: %v", first, err)
	}
	for _, last := range []uint64{0, first + 1} {
		if _, err := h.AppendAfter(ctx, subject, []byte("two"), last, 0); !errors.Is(err, history.ErrOutrun) {
			t.Errorf("after %d: %v", last, err)
		}
	}
	if _, err := h.AppendAfter(ctx, subject, []byte("two"), first, 0); err != nil {
		t.Error(err)
	}
	if all, _ := load(t, h, subject); strings.Join(all, " ") != "one two" {
		t.Errorf("it holds %q", all)
	}
}

// A marker goes by itself: nobody has to remember it.
func TestAMessageThatIsForATimeOnlyGoesByItself(t *testing.T) {
	h := open(t, natstest.Server(t), history.Config{Stored: true})
	subject := storedDocument.UpdatesSubject(0, docid.NewStoredEpoch("e1"))
	ctx := within(t, time.Minute)
	if _, err := h.AppendAfter(ctx, subject, []byte("marker"), 0, time.Second); err != nil {
		t.Fatal(err)
	}
	for {
		last, err := h.Last(ctx, subject)
		if err != nil {
			t.Fatal(err)
		}
		if last == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// What a store that is down for days is owed must not expire.
func TestAStreamThatForgetsTooSoonIsRefusedForStoredLives(t *testing.T) {
	for name, s := range map[string]jetstream.StreamConfig{
		"max_age":       {MaxAge: 24 * time.Hour, AllowMsgTTL: true},
		"allow_msg_ttl": {},
	} {
		servers := natstest.Server(t)
		nc := natstest.Connect(t, servers)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		s.Name, s.Subjects, s.AllowDirect = history.StoredStreamName(0), []string{docid.StoredFilter(0)}, true
		s.Metadata = map[string]string{"wsnode.shards": "1"}
		if _, err := js.CreateStream(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		h, err := history.Open(ctx, nc, history.Config{Stored: true})
		cancel()
		if err == nil {
			h.Close()
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
