package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// Two nodes of one region behind a balancer, three documents with four clients
// each that type all the time; one node is killed under them.
func TestNothingTypedIsMissingAfterANodeWasKilled(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	natsURL := cluster.StartNATS(t)
	front := cluster.FreeAddress(t)
	start := func(name string) *cluster.Node {
		return cluster.Serve{Name: name, Region: "eu-central-1", URL: "ws://" + front, NATS: natsURL, JWKS: keys.JWKS}.StartHealthy(t)
	}
	victim, survivor := start("victim"), start("survivor")
	region := cluster.StartBalancer(t, front, victim.Addr, survivor.Addr)

	node := yjs.Start(t)
	token := keys.Token(nil)
	const documents, clients = 3, 4
	var everyone []*yjs.Client
	groups := make([][]*yjs.Client, documents)
	join := func(group int) *yjs.Client {
		return node.Join(yjs.Options{
			URL: region.WS(), Document: fmt.Sprintf("doc-%d", group), Token: token,
			User: fmt.Sprintf("user %d", len(everyone)), Library: 2 + len(everyone)%2,
		})
	}
	for group := range groups {
		for range clients {
			c := join(group)
			groups[group] = append(groups[group], c)
			everyone = append(everyone, c)
		}
	}
	node.StartTyping(20*time.Millisecond, everyone...)
	time.Sleep(2 * time.Second) // load, before
	victim.Kill()
	time.Sleep(3 * time.Second) // and after
	edits := node.StopTyping(everyone...)
	t.Logf("edits: %v", edits)

	moved := 0
	for group, members := range groups {
		for _, c := range members {
			c.WaitSynced()
			if c.State().Connects > 1 {
				moved++
			}
		}
		node.WaitSame(settle, members...)
		node.WaitSame(settle, append(members, join(group))...)
	}
	if moved == 0 || moved == len(everyone) {
		t.Errorf("%d of %d clients had to reconnect: the load was not on both nodes", moved, len(everyone))
	}

	// Who was on the dead node is here again, once.
	for group, members := range groups {
		var users []string
		for i := range members {
			users = append(users, fmt.Sprintf("user %d", group*clients+i))
		}
		users = append(users, fmt.Sprintf("user %d", len(everyone))) // the late joiner
		for _, c := range members {
			c.WaitUsers(settle, users...)
		}
	}
}
