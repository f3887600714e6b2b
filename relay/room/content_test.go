package room

import (
	"testing"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/ystore"
)

func newContent() *content {
	return &content{store: ystore.New(ystore.Limits{}), present: new(awareness.Set), app: new(appTotal)}
}

func TestWhatIsMadeOfTheWholeDocumentIsOfTheDocumentAsItIs(t *testing.T) {
	c, w := newContent(), &writer{client: 1}
	before, pieces := c.whole(), c.pieces()
	if c.whole() != before || c.pieces() != pieces {
		t.Error("what nothing has changed is made anew")
	}
	one := w.insert("one")
	if fresh, _, err := c.apply(one, ystore.Terms{}); err != nil || fresh == nil {
		t.Fatalf("%v, %v", fresh, err)
	}
	after := c.whole()
	if after == before || c.pieces() == pieces || !pieces.dead {
		t.Error("a change leaves what was made before it")
	}
	if fresh, _, err := c.apply(one, ystore.Terms{}); err != nil || fresh != nil {
		t.Fatalf("%v, %v", fresh, err)
	}
	if c.whole() != after {
		t.Error("what brought nothing has changed the document")
	}
}

func TestAnAppIsChargedWhatItsDocumentTakes(t *testing.T) {
	c, w := newContent(), &writer{client: 1}
	if _, _, err := c.apply(w.insert("one"), ystore.Terms{}); err != nil {
		t.Fatal(err)
	}
	if got, want := c.app.bytes.Load(), int64(c.store.Stats().Held+c.present.Bytes()); got != want || want == 0 {
		t.Errorf("%d bytes are charged for %d", got, want)
	}
	c.present.ApplyRoom(1, []awareness.Entry{{Client: 6, Clock: 1, State: []byte(`{"name":"somebody"}`)}}, now())
	c.count()
	if got, want := c.app.bytes.Load(), int64(c.store.Stats().Held+c.present.Bytes()); got != want {
		t.Errorf("%d bytes are charged for %d and who is here", got, want)
	}
	app, counted := c.uncount()
	if int64(counted) != app.bytes.Load() {
		t.Errorf("%d bytes were charged, and %d are known", app.bytes.Load(), counted)
	}
	if _, _, err := c.apply(w.insert("two"), ystore.Terms{}); err != nil || app.bytes.Load() != int64(counted) {
		t.Errorf("%v; a document that has left its app is charged to it", err)
	}
}
