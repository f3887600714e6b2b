package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// settle is how long the last of many edits may take on a busy machine.
const settle = 2 * time.Minute

// seen is the contract's time in which a client that came back is seen.
const seen = time.Second

func TestClientsOfTwoNodesEndWithIdenticalDocuments(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	eachLibrary(t, func(t *testing.T, library int, document string) {
		node := yjs.Start(t)
		join := func(n int) *yjs.Client {
			o := on(dev, cluster.EU, n, token, document)
			o.Library = library
			return node.Join(o)
		}
		a, b := join(0), join(1)
		node.TypeTogether(1000, a, b)
		node.WaitSame(settle, a, b)

		late := join(1)
		node.WaitSame(settle, a, b, late)
		s := late.State()
		if len(s.Log) != 2000 {
			t.Errorf("the late client has %d edits, expected 2000", len(s.Log))
		}
		if s.Pending {
			t.Error("the late client waits for updates that it never got")
		}
	})
}

func TestAwarenessIsSeenByAllAndComesAndGoesWithItsClient(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	eachLibrary(t, func(t *testing.T, library int, document string) {
		node := yjs.Start(t)
		join := func(n int, user string) *yjs.Client {
			o := on(dev, cluster.EU, n, token, document)
			o.Library, o.User = library, user
			return node.Join(o)
		}
		a, b, c := join(0, "ann"), join(1, "bob"), join(1, "cem")
		allSee := func(within time.Duration, users ...string) {
			t.Helper()
			for _, client := range []*yjs.Client{a, b, c} {
				client.WaitUsers(within, users...)
			}
		}
		allSee(yjs.Patience, "ann", "bob", "cem")
		// A client that moved its cursor has a clock that its next provider lacks.
		for _, user := range []string{"cem 1", "cem 2", "cem 3", "cem"} {
			c.SetUser(user)
		}
		allSee(yjs.Patience, "ann", "bob", "cem")

		c.Disconnect()
		a.WaitUsers(yjs.Patience, "ann", "bob")
		b.WaitUsers(yjs.Patience, "ann", "bob")
		c.Connect()
		c.WaitSynced()
		allSee(seen, "ann", "bob", "cem")

		c.Replace(yjs.Options{})
		c.WaitSynced()
		allSee(seen, "ann", "bob", "cem")

		c.Destroy()
		a.WaitUsers(yjs.Patience, "ann", "bob")
		b.WaitUsers(yjs.Patience, "ann", "bob")
	})
}

// The node that a client comes back to may have closed the document meanwhile,
// and not have heard of the client at all: its clock is as old, all the same.
func TestAClientThatWasAloneOnItsNodeIsSeenAgainToo(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	for _, away := range []time.Duration{time.Second, 6 * time.Second} {
		for back, name := range []string{"other node", "same node"} {
			t.Run(fmt.Sprintf("%s after %v", name, away), func(t *testing.T) {
				t.Parallel()
				network := cluster.StartBalancer(t, "127.0.0.1:0", dev.Addr(cluster.EU, 1), dev.Addr(cluster.EU, back))
				node := yjs.Start(t)
				document := fmt.Sprint(name, away)
				ann := on(dev, cluster.EU, 0, token, document)
				ann.User = "ann"
				a := node.Join(ann)
				bob := yjs.Options{URL: network.WS(), Document: document, Token: token, User: "bob"}
				b := node.Join(bob)
				a.WaitUsers(yjs.Patience, "ann", "bob")
				network.Cut()
				a.WaitUsers(yjs.Patience, "ann")
				time.Sleep(away)
				network.Heal()
				b.WaitSynced()
				a.WaitUsers(seen, "ann", "bob")
				b.WaitUsers(seen, "ann", "bob")
			})
		}
	}
}
