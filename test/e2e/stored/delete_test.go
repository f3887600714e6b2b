package stored

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// Three are in, on two nodes, when an operator deletes the document. All are out for good,
// and the fourth, who was offline, is told when he comes back. So are those who come to the other region.
func TestALiveDocumentIsDeletedUnderItsUsers(t *testing.T) {
	d := cluster.DevConfig{Nodes: 2, Flags: []string{"--grace", "1s", "--store-interval", "1s", "--store", "file://" + t.TempDir()}}.Start(t)
	clients, token := yjs.Start(t), d.Token()
	join := func(node int) *yjs.Client {
		return clients.Join(yjs.Options{URL: d.WS(cluster.EU, node), Document: "todo", Token: token})
	}
	offline := join(1)
	three := []*yjs.Client{join(0), join(0), join(1)}
	three[0].Insert(-1, "what is deleted")
	for _, c := range append(three, offline) {
		c.WaitText("what is deleted")
	}
	offline.Disconnect()
	offline.WaitOffline()
	offline.Insert(-1, ", typed offline")

	const document = "aws-eu-west-1/dev/demo/todo"
	cluster.Wsctl(t, "store", "delete", document, "--yes", "--nats-url", d.NATS)
	for _, c := range three {
		if closed := c.WaitClosed(closecode.Deleted); closed.Reason != closecode.ReasonDeleted {
			t.Errorf("closed with %+v", closed)
		}
	}
	offline.Connect()
	offline.WaitClosed(closecode.Deleted)
	for _, region := range []int{cluster.EU, cluster.US} {
		late := clients.Open(yjs.Options{URL: d.WS(region, 0), Document: "todo", Token: token})
		late.WaitClosed(closecode.Deleted)
	}
	cluster.WaitUnpinned(t, d.HTTP(cluster.EU, 0), token, "todo", patience)

	// The name is free for another document.
	file := filepath.Join(t.TempDir(), "another.yjs")
	if err := os.WriteFile(file, []byte("\x01\x01\x01\x00\x04\x01\x04text\x07another\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	cluster.Wsctl(t, "store", "put", document, file, "--undelete", "--yes", "--nats-url", d.NATS)
	clients.Join(yjs.Options{URL: d.WS(cluster.US, 1), Document: "todo", Token: token}).WaitText("another")
}
