package e2e

import (
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

func TestOfflineEditsArriveAfterTheReconnect(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	eachLibrary(t, func(t *testing.T, library int, document string) {
		network := cluster.StartBalancer(t, "127.0.0.1:0", dev.Addr(cluster.EU, 0))
		node := yjs.Start(t)
		o := yjs.Options{URL: network.WS(), Document: document, Token: token, Library: library, User: "ann"}
		cut := node.Join(o)
		o = on(dev, cluster.EU, 1, token, document)
		o.Library, o.User = library, "bob"
		other := node.Join(o)
		node.TypeTogether(50, cut, other)
		node.WaitSame(settle, cut, other)
		other.WaitUsers(yjs.Patience, "ann", "bob")

		network.Cut()
		cut.WaitOffline()
		other.WaitUsers(yjs.Patience, "bob")
		node.TypeTogether(200, cut, other)
		network.Heal()

		cut.WaitSynced()
		other.WaitUsers(seen, "ann", "bob")
		node.WaitSame(settle, cut, other)
		node.WaitSame(settle, cut, other, node.Join(o))
	})
}

// Providers drop a connection on which no data came for 30 s, and WebSocket
// pings are not data.
func TestSilentClientWithoutAwarenessStaysConnected(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	eachLibrary(t, func(t *testing.T, library int, document string) {
		t.Parallel()
		node := yjs.Start(t)
		o := on(dev, cluster.EU, 0, token, document)
		o.Library = library
		c := node.Join(o)
		c.MustStay(70 * time.Second)
		if s := c.State(); s.Connects != 1 || len(s.Closes) != 0 {
			t.Errorf("%d connects, closes %v", s.Connects, s.Closes)
		}
	})
}

// Browsers let timers of hidden tabs fire once a minute, and clients forget who has not
// renewed its state for 30 s.
func TestTabsInTheBackgroundStayVisible(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	eachLibrary(t, func(t *testing.T, library int, document string) {
		t.Parallel()
		node := yjs.Start(t)
		join := func(n int, user string, background bool) *yjs.Client {
			o := on(dev, cluster.EU, n, token, document)
			o.Library, o.User, o.Background = library, user, background
			return node.Join(o)
		}
		hidden := join(0, "ann", true)
		join(1, "bob", true)
		watcher := join(0, "cem", false)
		watcher.WaitUsers(yjs.Patience, "ann", "bob", "cem")
		watcher.KeepsSeeing(65*time.Second, "ann", "bob", "cem")
		hidden.SetUser("ann moved") // what was renewed for it is older
		watcher.WaitUsers(yjs.Patience, "ann moved", "bob", "cem")
		hidden.Disconnect()
		watcher.WaitUsers(yjs.Patience, "bob", "cem")
	})
}
