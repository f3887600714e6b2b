package conn

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// trickling is a session that is being sent a large message, and its client.
type trickling struct {
	*talk
	s    *Conn
	sent int64
}

// trickle begins a message of so many bytes.
func trickle(t *testing.T, size int) *trickling {
	t.Helper()
	c := &trickling{talk: speak(t, false, nil)}
	c.s = <-c.served
	head := []byte{0x80 | byte(ws.OpBinary), 0x80 | 127}
	head = append(binary.BigEndian.AppendUint64(head, uint64(size)), 0, 0, 0, 0)
	c.write(t, append(head, make([]byte, readBuffer)...))
	eventually(t, func() bool { return c.s.transfer.Load() != nil })
	c.sent = readBuffer
	return c
}

func (c *trickling) write(t *testing.T, b []byte) {
	t.Helper()
	if _, err := c.peer.Write(b); err != nil {
		t.Fatal(err)
	}
}

// more sends more of the message, and returns when the session has it, and has heard
// a beat of the keepalive after that.
func (c *trickling) more(t *testing.T, bytes int) {
	t.Helper()
	transfer := c.s.transfer.Load()
	before := transfer.got.Load()
	c.write(t, make([]byte, bytes))
	eventually(t, func() bool { return transfer.got.Load() >= before+int64(bytes) || transfer.got.Load() == allCame })
	c.s.beat(time.Now())
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time")
		}
	}
}

func TestAMessageThatTricklesIsGivenUp(t *testing.T) {
	c := trickle(t, 16<<20)
	for range slowBeats {
		c.more(t, 1)
		if c.s.closed.Load() != nil {
			t.Fatal("closed too early")
		}
	}
	c.more(t, 1)
	if closed := c.s.closed.Load(); closed == nil || closed.Code != int(ws.StatusPolicyViolation) {
		t.Fatalf("%+v", closed)
	}
	<-c.ended
	if c.s.transfer.Load() != nil || c.s.cfg.incoming.Load() != 0 {
		t.Errorf("%d bytes are still accounted for", c.s.cfg.incoming.Load())
	}
}

// TestASlowLinkGetsThrough is about 128 kbit/s: 16 KB in each beat of a second. A link of
// a seventh of that is borne, too, which makes it shorter.
func TestASlowLinkGetsThrough(t *testing.T) {
	const second = slowBytes/slowBeats + 1
	size := 5 * slowBeats * second
	c := trickle(t, size)
	for range 5*slowBeats - 2 {
		c.more(t, second)
	}
	c.write(t, make([]byte, size))
	eventually(t, func() bool { return c.s.transfer.Load() == nil })
	for range 2 * slowBeats {
		c.s.beat(time.Now())
	}
	if closed := c.s.closed.Load(); closed != nil && closed.Code == int(ws.StatusPolicyViolation) {
		t.Errorf("%+v", closed)
	}
}

func TestAnAppHasAShareOfUnfinishedMessages(t *testing.T) {
	cfg := Config{LargestMessage: 1 << 20, MaxIncomingBytes: 64 << 20}
	cfg.SetDefaults()
	most := int(cfg.appIncoming())
	greedy, other := new(Share), new(Share)
	begin := func(of *Share, size int) (*Conn, bool) {
		s := &Conn{cfg: &cfg, share: of}
		return s, s.account(s.begin(nil), size, 0)
	}
	var sessions []*Conn
	for sum := 0; ; sum += 1 << 20 {
		s, ok := begin(greedy, 1<<20)
		sessions = append(sessions, s)
		if !ok {
			if sum != most {
				t.Errorf("the app was refused after %d bytes of %d", sum, most)
			}
			break
		}
	}
	if _, ok := begin(greedy, uncounted+1); ok {
		t.Error("an ordinary message of the app is taken beyond its share")
	}
	if _, ok := begin(other, most); !ok {
		t.Error("another app is refused")
	}
	for _, s := range sessions {
		s.forget()
	}
	if _, ok := begin(greedy, most-uncounted-1); !ok {
		t.Error("the share does not come back")
	}
}

func TestWhenTheNodeIsFullOrdinaryMessagesAreTakenStill(t *testing.T) {
	cfg := Config{LargestMessage: 1 << 20, MaxIncomingBytes: 8 << 20}
	cfg.SetDefaults()
	for range 4 {
		s := &Conn{cfg: &cfg, share: new(Share)}
		s.account(s.begin(nil), int(cfg.appIncoming()), 0)
	}
	s := &Conn{cfg: &cfg, share: new(Share)}
	if s.account(s.begin(nil), maxKeptBuffer+1, 0) {
		t.Error("a large one is taken")
	}
	s = &Conn{cfg: &cfg, share: new(Share)}
	if !s.account(s.begin(nil), maxKeptBuffer, 0) {
		t.Error("an ordinary one is refused")
	}
}

func TestWhoFindsNoRoomForAMessageIsToldBeforeSendingIt(t *testing.T) {
	cfg := Config{LargestMessage: 1 << 20, MaxIncomingBytes: 16 << 20}
	cfg.SetDefaults()
	app, other := new(Share), new(Share)
	take := func(of *Share, size int, announced int64) bool {
		s := &Conn{cfg: &cfg, share: of}
		return s.account(s.begin(nil), size, announced)
	}
	most := cfg.appIncoming()
	if !take(app, int(most)/2, most/2) || app.incoming.Load() != most/2 {
		t.Errorf("%d bytes of the app's share are taken by one that has sent half of it", app.incoming.Load())
	}
	if !take(app, 32<<10, most/4) {
		t.Error("what is only announced takes room")
	}
	if take(app, 32<<10, most/2) {
		t.Error("one that will find no room may go on")
	}
	for range 3 {
		take(new(Share), int(most), 0)
	}
	if take(other, 32<<10, most) {
		t.Error("one that the node will not bear may go on")
	}
	if !take(other, 32<<10, maxKeptBuffer-32<<10) {
		t.Error("an ordinary one is refused")
	}
}
