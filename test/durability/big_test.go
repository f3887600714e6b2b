package durability

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

const mib = 1 << 20

// startPair starts two nodes of a region with more flags, and returns them with a
// token.
func startPair(t *testing.T, flags ...string) (a, b *cluster.Node, token string) {
	t.Helper()
	keys := issuer.New(t)
	region := cluster.StartNATSServers(t, 1)
	start := func(name string) *cluster.Node {
		return cluster.Serve{
			Name: name, Region: "eu-central-1", NATS: region[0].URL, JWKS: keys.JWKS,
			Flags: append([]string{"--admin-listen", "off"}, flags...),
		}.StartHealthy(t)
	}
	return start("a"), start("b"), keys.Token(nil)
}

func TestMessagesOverTheLimitEndTheirSenderOnly(t *testing.T) {
	a, b, token := startPair(t, "--max-message-bytes", fmt.Sprint(mib), "--max-document-bytes", fmt.Sprint(4*mib))
	here, there := dial(t, a.WS(), "limited", token), dial(t, b.WS(), "limited", token)
	here.typeText("before")
	there.waitHas(here)

	expect := func(sender *client, reason string) {
		t.Helper()
		closed := sender.waitClosed()
		if closed.Code != websocket.StatusMessageTooBig || closed.Reason != reason {
			t.Errorf("the sender was closed with %d %q, expected 1009 %q", closed.Code, closed.Reason, reason)
		}
		for _, other := range []*client{here, there} {
			select {
			case <-other.done:
				t.Fatalf("another client was closed: %v", other.waitClosed())
			default:
			}
		}
		here.typeText("-")
		there.typeText("+")
		here.waitHas(there)
		there.waitHas(here)
	}

	sender := dial(t, a.WS(), "limited", token)
	sender.typeText(strings.Repeat("x", mib+mib/2))
	expect(sender, fmt.Sprintf("Message too large: limit %d bytes", mib))
	if known(there.store.StateVector(), sender.author.client) != 0 {
		t.Error("the message that was too large reached another client")
	}

	growing := dial(t, b.WS(), "limited", token)
	for range 5 {
		growing.typeText(strings.Repeat("y", mib-100))
	}
	expect(growing, fmt.Sprintf("Document too large: limit %d bytes", 4*mib))

	// What was taken of it is the same everywhere.
	late := dial(t, a.WS(), "limited", token)
	late.waitHas(here, there)
	here.wait("agree", func() bool { return bytes.Equal(here.store.Encode(), late.store.Encode()) })
	there.wait("agree", func() bool { return bytes.Equal(there.store.Encode(), late.store.Encode()) })
}
