package contract

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// section 8: messages and bytes per second, and SyncStep1 answers, of a session.
func TestASessionThatExceedsABudgetIsSlowedDownAndLosesNothing(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	const atLeast = 1500 * time.Millisecond // of the 2 s that each of these owes
	for _, c := range []struct {
		what, flag string
		send       func(*client)
		answers    int // SyncStep2 that are awaited
	}{
		// Ten seconds' worth is saved up at first; twelve are sent.
		{"messages", "--session-messages-per-second=50", func(c *client) {
			for range 600 {
				c.send(websocket.MessageBinary, []byte{3})
			}
			c.say(syncStep1, []byte{0})
		}, 1},
		{"bytes", "--session-bytes-per-second=10000", func(c *client) {
			for n := range uint64(12) {
				c.say(syncUpdate, insert(1, n*10000, string(bytes.Repeat([]byte{'x'}, 10000))))
			}
			c.say(syncStep1, []byte{0})
		}, 1},
		{"answers, which count as 4 KiB at least", "--session-answer-bytes-per-second=40960", func(c *client) {
			for range 121 {
				c.say(syncStep1, []byte{0})
			}
		}, 121},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			client := join(t, startNode(t, keys, c.flag), keys.Token(nil), "doc")
			start := time.Now()
			c.send(client)
			for range c.answers {
				client.await(syncStep2)
			}
			if took := time.Since(start); took < atLeast {
				t.Errorf("it took %v, expected to be slowed down by 2 s", took)
			}
		})
	}
}

// section 8: claims per second per app.
func TestAnAppMayOpenSoManyDocumentsASecond(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys, "--max-app-claims-per-second", "2")
	token := keys.Token(nil)
	first := join(t, n, token, "first")
	refused := 0
	for i := range 30 {
		target, header := subprotocol("access_token")(token, fmt.Sprint("doc", i))
		switch h := cluster.Shake(t, n.Addr, target, header); {
		case h.Code == 1013 && h.Reason == "Try again later":
			refused++
		case h.Code != 0:
			t.Errorf("%d %q", h.Code, h.Reason)
		}
	}
	if refused == 0 {
		t.Error("thirty documents were opened at once")
	}
	join(t, n, token, "first") // it is open: nothing to claim
	join(t, n, keys.Token(issuer.Claims{"appId": "other"}), "doc")
	first.leave()
}

// section 8: awareness clients per document.
func TestADocumentMayHaveSoManyAwarenessClients(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys, "--max-document-awareness", "2")
	token := keys.Token(nil)
	witness, c := join(t, n, token, "doc"), join(t, n, token, "doc")
	for id := range uint64(3) {
		c.say(awareness, state(id+1, 1, fmt.Sprintf(`"client %d"`, id+1)))
	}
	c.say(syncUpdate, insert(1, 0, "end"))
	var seen []byte
	for !bytes.Contains(seen, []byte("end")) {
		_, message, err := witness.ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, message...)
	}
	for id, expected := range map[int]bool{1: true, 2: true, 3: false} {
		if bytes.Contains(seen, fmt.Appendf(nil, "client %d", id)) != expected {
			t.Errorf("client %d is seen: %v", id, !expected)
		}
	}
}

func TestASecondSignalEndsANodeAtOnce(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys, "--drain-delay", "10m")
	join(t, n, keys.Token(nil), "doc")
	n.Interrupt()
	n.WaitLine(func(line string) bool { return bytes.Contains([]byte(line), []byte("msg=draining")) })
	start := time.Now()
	n.Interrupt()
	n.Wait()
	if took := time.Since(start); took > patience {
		t.Errorf("it took %v", took)
	}
}
