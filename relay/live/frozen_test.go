package live

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/relay/docs"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/test/natstest"
)

// A node is cut off from everything but the store for longer than its lease, with edits
// that nobody else has. The document lives in the other region meanwhile, and is stored there,
// or is deleted. When the node wakes up it stores the union, which the users of the other
// region see although they do nothing; and nothing of what was deleted comes back.
func TestANodeThatWasFrozenStoresTheUnionAndRevivesNothing(t *testing.T) {
	for name, deleted := range map[string]bool{"the document lives on": false, "the document was deleted": true} {
		t.Run(name, func(t *testing.T) {
			eu, s := storing(t)
			eu.brief()
			us := eu.apart(east)
			frozen := eu
			way := natstest.NewProxy(t, eu.url)
			frozen.url = way.URL
			frozen.registryAt(way.URL)
			a, b, c := frozen.node("a"), eu.node("b"), us.node("c")
			v := a.visit(t)
			v.obeys()
			v.types("before")
			eventually(t, "it is stored", func() bool { return a.saves.kept(v.d.keeper).Clean })
			way.Cut()
			if _, err := v.seat.Apply(insert("typed while frozen")); err != nil {
				t.Fatal(err)
			}
			var w *visit
			eventually(t, "the other region takes it over", func() bool {
				var err error
				w, err = c.tryVisit(t)
				return err == nil
			})
			w.obeys()
			w.types("typed meanwhile")
			eventually(t, "it is stored there", func() bool {
				return bytes.Contains(stored(t, s.Store).Body, []byte("typed meanwhile"))
			})
			if body := string(stored(t, s.Store).Body); strings.Contains(body, "frozen") {
				t.Fatalf("the store holds %q: nothing is tested", body)
			}
			if deleted {
				_, err := b.operator().Delete(t.Context(), todo)
				if silent := (*docs.SilentError)(nil); err != nil && !errors.As(err, &silent) { // a starved node may be
					t.Fatal(err)
				}
				c.eventuallyGone(t)
				way.Heal()
				a.eventuallyGone(t)
				if why := a.reason(todo); !errors.Is(why, ErrDeleted) {
					t.Errorf("the sessions of the node that was frozen are ended for %v", why)
				}
				if _, err := s.Store.Load(t.Context(), todo, nil); !errors.Is(err, storage.ErrDeleted) {
					t.Errorf("the store has it again: %v", err)
				}
			} else {
				way.Heal()
				w.sees("typed while frozen")
				w.reads("before")
				eventually(t, "the union is stored", func() bool {
					body := stored(t, s.Store).Body
					return bytes.Contains(body, []byte("typed while frozen")) && bytes.Contains(body, []byte("typed meanwhile"))
				})
				a.eventuallyGone(t)
			}
			eventually(t, "nothing is left where it was", func() bool { return len(b.leftOf(t, todo)) == 0 })
		})
	}
}
