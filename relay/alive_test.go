package relay

import (
	"testing"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/closecode"
)

// TestWhoIsGoneKeepsNobodyOut has one place, and a client that does not answer pings any
// more, as one whose network changed. It is on another node than the one who wants in.
func TestWhoIsGoneKeepsNobodyOut(t *testing.T) {
	w := newWorld(t)
	soon := func(c *Config) { c.aliveSilent, c.aliveWithin = time.Nanosecond, time.Second }
	a, b := w.node("eu-central-1", "a", soon), w.node("eu-central-1", "b", soon)
	for i, limits := range []authn.Limits{{MaxUsersPerDoc: 1}, {MaxConnections: 1}} {
		for _, there := range []bool{false, true} {
			app := docid.App([]string{"users", "connections"}[i])
			if there {
				app += "-there"
			}
			token := w.token(authn.Subject{Tenant: "acme", App: app, License: license, Limits: limits})
			conn := open(t, b, "todo", token)
			if there {
				go func() { // answers pings; ends with the connection
					for {
						if _, _, err := conn.Read(t.Context()); err != nil {
							return
						}
					}
				}()
			}
			want := 0
			if there {
				want = []int{closecode.Users, closecode.Connections}[i]
			}
			if !there { // on a busy machine the other node answers too late for the first try
				eventually(t, "the newcomer is in", func() bool { return outcomeOf(t, a, "todo", token) == want })
			} else if got := outcomeOf(t, a, "todo", token); got != want {
				t.Errorf("%s: the newcomer got %d, want %d", app, got, want)
			}
		}
	}
	eventually(t, "who is gone has left, and nobody else", func() bool { return b.clients.len() == 2 })
}
