package natsconn_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestInboxesAreNamedAfterTheUserOfAURL(t *testing.T) {
	for urls, want := range map[string]string{
		"nats://wsnode:secret@nats-0:4222,nats://wsnode:secret@nats-1:4222": "_INBOX.wsnode",
		"tls://registry-eu-central-1:p@ss@nats:4222":                        "_INBOX.registry-eu-central-1",
		"wsnode:secret@nats":       "_INBOX.wsnode",
		"nats://nats-0:4222":       "",
		"nats://token@nats-0:4222": "", // a secret
		"nats://a.b:x@nats":        "",
		"nats://*:x@nats":          "",
		"":                         "",
	} {
		if got := natsconn.UserInboxes(urls); got != want {
			t.Errorf("%q: %q, expected %q", urls, got, want)
		}
	}
}

func TestTheUserOfAFileHasInboxesToo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "url")
	write(t, file, "tls://pod:secret@a:4222,tls://pod:secret@b:4222")
	for servers, want := range map[string]string{"file:" + file: "_INBOX.pod", "file://" + file: "_INBOX.pod", "file:" + file + "x": ""} {
		if got := natsconn.UserInboxes(servers); got != want {
			t.Errorf("%q: %q, expected %q", servers, got, want)
		}
	}
}

func TestOnlyInboxesAreAnswered(t *testing.T) {
	for reply, want := range map[string]bool{
		"_INBOX.a": true, "_INBOX.pod.a.b": true, "_R_.a.b": true,
		"": false, "wsn.u.0.a": false, "$JS.API.STREAM.PURGE.a": false, "$JS.ACK.a.b.1.1.1.1.0": false, "$KV.a.b": false, "inbox.a": false,
	} {
		if got := natsconn.IsInbox(reply); got != want {
			t.Errorf("%q: %v", reply, got)
		}
	}
	for prefix, want := range map[string]bool{
		"_INBOX": true, "_INBOX.pod": true, "_INBOX_pod.x-1": true, "": false, "_INBOX.": false, "_INBOX.*": false, "inbox": false, "a._INBOX": false,
	} {
		if got := natsconn.ValidInboxes(prefix); got != want {
			t.Errorf("prefix %q: %v", prefix, got)
		}
	}
}

// nats.NewInbox counts: the next one is one more than the last.
func TestNoInboxIsLikeAnother(t *testing.T) {
	nc := natstest.Connect(t, natstest.Server(t), nats.CustomInboxPrefix("_INBOX.pod"))
	seen := map[string]bool{}
	for range 1000 {
		token, ok := strings.CutPrefix(natsconn.NewInbox(nc), "_INBOX.pod.")
		if !ok || len(token) < 20 || seen[token[:10]] {
			t.Fatalf("%q", token)
		}
		seen[token[:10]] = true
	}
}

func TestSubjectsForAnswersAreTokensThatNobodyGuesses(t *testing.T) {
	nc := natstest.Connect(t, natstest.Server(t), nats.CustomInboxPrefix("_INBOX.pod"))
	seen := map[string]bool{}
	for range 1000 {
		inboxes, token := natsconn.NewInboxes(nc), string(natsconn.AppendToken(nil))
		if !natsconn.ValidInboxes(inboxes+token) || !strings.HasPrefix(inboxes, "_INBOX.pod.") || !strings.HasSuffix(inboxes, ".") {
			t.Fatalf("%q and %q", inboxes, token)
		}
		if len(token) < 22 || seen[inboxes] || seen[token[:11]] || seen[token[11:]] {
			t.Fatalf("%q and %q", inboxes, token)
		}
		seen[inboxes], seen[token[:11]], seen[token[11:]] = true, true, true
	}
}
