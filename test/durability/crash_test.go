package durability

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// Everybody types at full speed when every process is killed: nodes, clients and
// NATS. Afterwards a node that was not there before and a client that knows
// nothing must find whatever JetStream had acknowledged.
func TestAcknowledgedEditsSurviveTheDeathOfEveryNodeAndEveryClient(t *testing.T) {
	for _, servers := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d nats-server", servers), func(t *testing.T) {
			const nodes, writers, documents = 2, 2, 3
			keys := issuer.New(t)
			token := keys.Token(nil)
			region := cluster.StartNATSServers(t, servers)
			var urls []string
			for _, s := range region {
				urls = append(urls, s.URL)
			}
			start := func(name string) *cluster.Node {
				return cluster.Serve{
					Name: name, Region: "eu-central-1", NATS: strings.Join(urls, ","), JWKS: keys.JWKS,
					Flags: []string{"--replicas", fmt.Sprint(servers), "--history-replicas", fmt.Sprint(servers), "--admin-listen", "off"},
				}.StartHealthy(t)
			}
			var all []*cluster.Node
			for i := range nodes {
				all = append(all, start(fmt.Sprintf("node-%d", i)))
			}
			tap := tapHistory(t, strings.Join(urls, ","))

			var typing sync.WaitGroup
			stop := make(chan struct{})
			for d := range documents {
				for w := range nodes * writers {
					c := dial(t, all[w%nodes].WS(), fmt.Sprintf("doc-%d", d), token)
					typing.Go(func() { c.typeUntil(stop, 10*time.Millisecond) })
				}
			}
			tap.waitAcknowledged(t, 500)
			var dying sync.WaitGroup
			for _, n := range all {
				dying.Go(n.Kill)
			}
			for _, s := range region {
				dying.Go(s.Kill)
			}
			dying.Wait()
			close(stop)
			typing.Wait()
			tap.close()

			for _, s := range region {
				s.Start()
			}
			for _, s := range region {
				s.WaitTaking()
			}
			fresh := start("fresh")
			edits, total := 0, 0
			for d := range documents {
				document := fmt.Sprintf("doc-%d", d)
				c := dial(t, fresh.WS(), document, token)
				acked, published := tap.of(document)
				if len(acked) == 0 {
					t.Errorf("%s: no edit was acknowledged, so nothing was tested", document)
				}
				for _, u := range acked {
					if !c.has(u) {
						t.Errorf("%s: lost an acknowledged update of %d bytes", document, len(u))
					}
				}
				if pending := c.pending(); pending != 0 {
					t.Errorf("%s: the fresh client waits for %d structs that nobody has", document, pending)
				}
				edits, total = edits+len(acked), total+published
			}
			t.Logf("%d history messages had been acknowledged of %d published", edits, total)
		})
	}
}
