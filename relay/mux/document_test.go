package mux

import (
	"slices"
	"testing"

	"github.com/wsnode/wsnode/relay/wire"
)

func TestWhatComesBehindATokenIsGivenToTheSeatInOrder(t *testing.T) {
	hold := make(chan struct{})
	h := &host{admit: func(Request) error { <-hold; return nil }}
	c := connect(t, h)
	c.token("a", "t")
	c.update("a", "one")
	c.update("a", "two")
	c.update("b", "for a document without a token")
	close(hold)
	c.expect("a granted read-write")
	c.update("a", "three")
	s, _ := h.latest()
	eventually(t, "all was given", func() bool { return s.all() == "one two three" })
	eventually(t, "what has no token is dropped", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.Equal(h.dropped, []wire.Kind{wire.Update})
	})
}

func TestARefusalEndsOneDocumentOnly(t *testing.T) {
	h := &host{admit: func(r Request) error {
		if r.Token == "bad" {
			return &refusal{4003, "Forbidden: document"}
		}
		return nil
	}}
	c := connect(t, h)
	c.token("a", "good")
	c.expect("a granted read-write")
	c.token("b", "bad")
	c.expect("b denied Forbidden: document")
	c.update("b", "unheard")
	c.update("a", "heard")
	s, taken := h.latest()
	eventually(t, "the other goes on", func() bool { return s.all() == "heard" })
	c.token("b", "good")
	c.expect("b granted read-write")
	if taken != 1 {
		t.Errorf("%d seats", taken)
	}
}

func TestWhatPassesIsTriedAgainUnseen(t *testing.T) {
	tries := 0
	h := &host{admit: func(Request) error {
		if tries++; tries < 3 {
			return &refusal{1013, "Try again later"}
		}
		return nil
	}}
	c := connect(t, h)
	c.token("a", "t")
	c.update("a", "typed meanwhile")
	c.expect("a granted read-write")
	first, _ := h.latest()
	eventually(t, "what was typed has come", func() bool { return first.all() == "typed meanwhile" })
	first.channel.End(first, 1013, "Try again later", nil)
	if how := left(t, first); how.Code != 1013 {
		t.Errorf("left with %d", how.Code)
	}
	eventually(t, "it is in another seat, and brought up to date", func() bool {
		s, taken := h.latest()
		return taken == 2 && s.resumed.Load() == 1
	})
	c.update("a", "and later")
	eventually(t, "what is typed later has come", func() bool { s, _ := h.latest(); return s.all() == "and later" })
	c.send("a", 7)
	second, _ := h.latest()
	left(t, second) // and the client was told nothing, or expect would have seen it
	c.token("a", "t")
	c.expect("a granted read-write")
}

func TestTheEndOfASeatIsToldAndNothingIsTakenAfterwards(t *testing.T) {
	h := new(host)
	c := connect(t, h)
	c.token("a", "t")
	c.expect("a granted read-write")
	s, _ := h.latest()
	s.channel.End(s, 4403, "enough", nil)
	s.channel.End(s, 4403, "twice", nil)
	c.expect("a denied enough")
	left(t, s)
	c.update("a", "unheard")
	c.token("a", "t")
	c.expect("a granted read-write")
	again, _ := h.latest()
	c.update("a", "heard")
	eventually(t, "the next seat has what came behind its token", func() bool { return again.all() == "heard" })
	if s.all() != "" {
		t.Errorf("the seat that had ended was given %q", s.all())
	}
}

func TestATokenWithOtherRightsChangesThem(t *testing.T) {
	h := new(host)
	h.confirm = func(r Request) error {
		seat := h.seats[len(h.seats)-1]
		if r.Token == "evil" {
			return &refusal{4003, "Forbidden: document"}
		}
		if r.Token != seat.token {
			return ErrRights
		}
		return nil
	}
	c := connect(t, h)
	c.token("a", "write")
	c.expect("a granted read-write")
	first, _ := h.latest()
	c.token("a", "write")
	c.expect("a granted read-write") // the same rights: confirmed, in the same seat
	c.update("a", "one")
	eventually(t, "an edit is given", func() bool { return first.all() == "one" })
	c.token("a", "read")
	c.expect("a granted readonly")
	left(t, first)
	c.update("a", "two")
	second, taken := h.latest()
	eventually(t, "the next edit is the new seat's", func() bool { return second.all() == "two" })
	if taken != 2 || second.resumed.Load() != 1 || first.all() != "one" {
		t.Errorf("%d seats; %d times brought up to date; the first was given %q", taken, second.resumed.Load(), first.all())
	}
	c.token("a", "write")
	c.expect("a granted read-write")
	left(t, second)
	c.token("a", "evil")
	c.expect("a denied Forbidden: document")
	third, _ := h.latest()
	left(t, third)
}

// A client knows that it is in a moment before its messages go to its seat.
func TestATokenThatComesAsTheClientIsLetInIsJudged(t *testing.T) {
	hold := make(chan struct{})
	h := &host{
		admit:   func(r Request) error { r.Granted(false); <-hold; return nil },
		confirm: func(Request) error { return &refusal{4003, "Forbidden: document"} },
	}
	c := connect(t, h)
	c.token("a", "good")
	c.expect("a granted read-write")
	c.token("a", "evil")
	eventually(t, "the token has come", func() bool {
		c.mux.mu.Lock()
		defer c.mux.mu.Unlock()
		return c.mux.documents["a"].tokens == 1
	})
	close(hold)
	c.expect("a denied Forbidden: document")
	s, _ := h.latest()
	left(t, s)
}

func TestTheEndOfTheConnectionGivesAllSeatsBack(t *testing.T) {
	h := new(host)
	c := connect(t, h)
	for _, address := range []string{"a", "b", "b\x00twice"} {
		c.token(address, "t")
		c.expect(address + " granted read-write")
	}
	_ = c.conn.CloseNow()
	h.mu.Lock()
	seats := slices.Clone(h.seats)
	h.mu.Unlock()
	for _, s := range seats {
		left(t, s)
	}
}

// Who leaves a document before it is let in begins nothing that is not counted.
func TestTokensOfDocumentsThatWereLeftAreBounded(t *testing.T) {
	admitting := make(chan struct{})
	h := &host{admit: func(Request) error {
		<-admitting
		return nil
	}}
	c := connect(t, h)
	defer close(admitting)
	for range maxEntering + 1 {
		c.token("minutes", "write")
		c.send("minutes", 7)
	}
	c.isClosed()
	c.mux.mu.Lock()
	defer c.mux.mu.Unlock()
	if c.mux.entering > maxEntering {
		t.Errorf("it is being let in %d times", c.mux.entering)
	}
}

// No limit of an app counts a connection that has left its documents.
func TestConnectionsWithoutADocumentAreCounted(t *testing.T) {
	h := &host{mostOutside: 1}
	first, second := connect(t, h), connect(t, h)
	leave := func(c *client) {
		c.token("minutes", "write")
		c.expect("minutes granted read-write")
		c.send("minutes", 7)
	}
	leave(first)
	eventually(t, "it is counted", func() bool { return h.outside.Load() == 1 })
	first.token("minutes", "write")
	first.expect("minutes granted read-write")
	if n := h.outside.Load(); n != 0 {
		t.Fatalf("%d are counted that are in a document", n)
	}
	first.send("minutes", 7)
	eventually(t, "it is counted again", func() bool { return h.outside.Load() == 1 })
	leave(second)
	second.isClosed()
	_ = first.conn.CloseNow()
	eventually(t, "nothing is left of them", func() bool { return h.outside.Load() == 0 })
}
