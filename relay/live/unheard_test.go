package live

import (
	"testing"

	"github.com/wsnode/wsnode/test/natstest"
)

func TestAHolderThatIsNotHeardIsTold(t *testing.T) {
	r := region{t: t, url: natstest.Server(t).URL}
	a, b := r.node("a"), r.node("b")
	a.open(t, todo)
	d := b.open(t, todo)
	eventually(t, "they hear each other", func() bool {
		return len(d.hold.Pin().Holders) == 2 && len(b.unheard.missing(d, d.hold.Pin())) == 0
	})
	b.unheard.look(t.Context(), d)
	if b.Unheard() > 0 || b.log.says("is not heard") {
		t.Error("a holder that is heard is told")
	}
	// The same pin on a node whose NATS is another: its room hears nobody.
	lonely := region{t: t, url: natstest.Server(t).URL}.node("b")
	alone, err := lonely.rooms.Open(t.Context(), todo, d.room.Epoch(), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	heard := d.room
	d.room = alone
	b.unheard.look(t.Context(), d)
	if b.Unheard() != 1 || !b.log.says("is not heard") || !b.log.says("nodes=[a]") {
		t.Errorf("nothing is told: %d", b.Unheard())
	}
	d.room = heard
	b.unheard.look(t.Context(), d)
	if b.Unheard() != 0 {
		t.Error("it is told for ever")
	}
}
