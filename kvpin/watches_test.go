package kvpin

import (
	"context"
	"testing"

	"github.com/wsnode/wsnode/test/natstest"
)

// NATS allows a stream 1,000 consumers unless it is told otherwise.
func TestMoreThanAThousandNodesCanWatchARegistry(t *testing.T) {
	t.Parallel()
	server := natstest.Server(t)
	w := &world{t: t, server: server, url: server.URL}
	defer w.close()
	store := w.node("eu-central-1", "a").buckets[testLicense].store.(*natsStore)
	for i := range 1100 {
		if _, _, err := store.createConsumer(context.Background(), store.link.conn.NATS().NewInbox(), []string{regionPrefix + ">"}); err != nil {
			t.Fatalf("watch %d: %v", i+1, err)
		}
	}
}
