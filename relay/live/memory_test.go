package live

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// lingering is a store that goes on reading bodies after it has failed, as a connection does on
// which a request was given up.
type lingering struct {
	storage.Store
	fails           bool
	bodies, expects [][]byte
}

func (l *lingering) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	if l.fails {
		l.bodies, l.expects = append(l.bodies, body), append(l.expects, slices.Clone(body))
		return "", errors.New("the connection was lost")
	}
	return l.Store.Save(ctx, d, expect, m, body)
}

// The memory of a body is used again only when its store has taken it.
func TestWhatAStoreMayStillReadIsNotWrittenOver(t *testing.T) {
	r, s := storing(t)
	l := &lingering{Store: s}
	r.store = l
	n := r.unplanned().node("a")
	v := n.visit(t)
	defer v.leave()
	for i := range 20 {
		v.types(string(rune('a' + i)))
		if l.fails = i%2 == 0; l.fails {
			if err := n.Save(t.Context(), v.d); err == nil {
				t.Fatal("it is stored: nothing is tested")
			}
			continue
		}
		n.savesNow(t, v)
		if got := stored(t, s.Store); !bytes.Equal(got.Body, v.d.Room().Export()) {
			t.Fatalf("the store holds %q, expected %q", got.Body, v.d.Room().Export())
		}
	}
	for i, body := range l.bodies {
		if !bytes.Equal(body, l.expects[i]) {
			t.Errorf("a body that is being read has become %q, before %q", body, l.expects[i])
		}
	}
}
