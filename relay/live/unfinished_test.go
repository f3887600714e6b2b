package live

import (
	"bytes"
	"testing"
	"time"

	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/oplog"
)

// A message of which a dead room has appended only the first parts keeps a life from its end for as
// long as the others may still come, and no longer, although who pays opens a room for moments.
func TestWhatNobodyWillCompleteKeepsNoLifeFromItsEnd(t *testing.T) {
	r, s := storing(t)
	n := r.unplanned().node("a")
	v := n.visit(t)
	v.types("one")
	l := life{todo, v.d.Room().Epoch()}
	found, err := n.lives.found(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	part := oplog.Kept.AppendPart(nil, 99, 1, oplog.Part{First: 1, Count: 2, Kind: oplog.Updates}, []byte("half"))
	if _, err := n.stored.AppendAfter(t.Context(), n.lives.subject(l), part, found.Last, 0); err != nil {
		t.Fatal(err)
	}
	v.leave()
	n.settle(t)
	eventually(t, "it was tried to store it", func() bool { return len(n.payments.knownUnfinished(l)) == 1 })
	if _, state := n.state(t); state != kvpin.Owed {
		t.Fatalf("its pin is %s, while the other part may come", state)
	}
	eventually(t, "it is stored when that was long ago", func() bool {
		n.payments.mu.Lock()
		known := map[oplog.Key]time.Time{}
		for key := range n.payments.unfinished[l] {
			known[key] = time.Now().Add(-time.Hour)
		}
		n.payments.unfinished[l] = known
		n.payments.mu.Unlock()
		n.purges.at(l, time.Now())
		_, state := n.state(t)
		return state != kvpin.Owed
	})
	n.free(t)
	if got := stored(t, s.Store); !bytes.Contains(got.Body, []byte("one")) {
		t.Errorf("the store holds %q", got.Body)
	}
}
