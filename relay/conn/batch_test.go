package conn

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/gobwas/ws"
)

// other is a connection to write to, and its peer.
func other(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	from, to := socketPair(t)
	c := new(Conn)
	c.socket = newSocket(from)
	c.top = c.socket
	c.socket.direct(nil, time.Minute)
	_ = to.SetReadDeadline(time.Now().Add(time.Minute))
	return c, to
}

// there is what has arrived at a peer. Over loopback it has as soon as it is written.
func there(t *testing.T, c *net.TCPConn) string {
	t.Helper()
	b := make([]byte, 100)
	n := 0
	control(t, c, func(fd int) { n, _ = readNow(fd, b) })
	return string(b[:max(n, 0)])
}

func TestWhatIsGatheredIsWrittenAtTheEndAndInOrder(t *testing.T) {
	author, _ := other(t)
	c, peer := other(t)
	if c.WriteWith(author.Batch(), []byte("a")); there(t, peer) != "a" {
		t.Error("something waits, though nothing is gathered")
	}
	author.gather()
	b := author.Batch()
	c.WriteWith(b, []byte("b"))
	c.WriteWith(b, []byte("c"))
	if got := there(t, peer); got != "" {
		t.Errorf("%q was written at once", got)
	}
	author.Flush()
	if got := there(t, peer); got != "bc" {
		t.Errorf("%q was written at the end", got)
	}
	// Somebody still has the batch, though it is over.
	if c.WriteWith(b, []byte("d")); there(t, peer) != "d" {
		t.Error("what comes after the end waits for ever")
	}
	// Others do not wait, nor overtake.
	author.gather()
	c.WriteWith(author.Batch(), []byte("e"))
	c.Write([]byte("f"))
	if got := there(t, peer); got != "ef" {
		t.Errorf("%q was written for another", got)
	}
	c.WriteWith(author.Batch(), []byte("g"))
	c.WriteLent([]byte("h"))
	c.WriteWith(author.Batch(), []byte("i"))
	c.Close(1000, "")
	author.Flush()
	if got := there(t, peer); got != "ghi\x88\x02\x03\xe8" {
		t.Errorf("%q was written by the close", got)
	}
}

func TestNothingGatheredIsLostWhereSocketsAreFull(t *testing.T) {
	author, _ := other(t)
	c, peer := other(t)
	random := rand.New(rand.NewPCG(1, 2))
	var all bytes.Buffer
	var reading sync.WaitGroup
	var got []byte
	start := make(chan struct{})
	reading.Go(func() {
		<-start
		got, _ = io.ReadAll(peer)
	})
	for i := range 3000 {
		if i == 2000 { // from then on it is read beside
			close(start)
		}
		frame := bytes.Repeat([]byte{byte(i)}, 1+random.IntN(1<<random.IntN(15)))
		all.Write(frame)
		switch random.IntN(4) {
		case 0:
			author.Flush()
			c.Write(frame)
		case 1:
			c.WriteLent(bytes.Clone(frame))
		default:
			author.gather()
			c.WriteWith(author.Batch(), frame)
		}
	}
	author.Flush()
	for deadline := time.Now().Add(time.Minute); c.socket.behind(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not drained")
		}
	}
	_ = c.socket.Close()
	reading.Wait()
	if !bytes.Equal(got, all.Bytes()) {
		t.Errorf("%d bytes arrived of %d, or in another order", len(got), all.Len())
	}
}

func TestMessagesThatCameTogetherAreWrittenTogether(t *testing.T) {
	small := frame(ws.OpBinary, true, update(20))
	for what, c := range map[string]struct {
		sent [][]byte
		seen []string // by the other, when each message is handled
	}{
		"one":                         {[][]byte{small}, []string{""}},
		"three at once":               {[][]byte{bytes.Repeat(small, 3)}, []string{"", "", ""}},
		"one that has not come whole": {[][]byte{append(bytes.Clone(small), small[:9]...)}, []string{""}},
		"before a ping":               {[][]byte{append(bytes.Clone(small), frame(ws.OpPing, true, nil)...)}, []string{""}},
		"before what ends it":         {[][]byte{append(bytes.Repeat(small, 2), frame(ws.OpText, true, nil)...)}, []string{"", ""}},
	} {
		t.Run(what, func(t *testing.T) {
			to, peer := other(t)
			s := speak(t, false, nil)
			conn := <-s.served
			var seen []string
			s.answer = func() { // under the handler's lock
				seen = append(seen, there(t, peer))
				to.WriteWith(conn.Batch(), []byte("x"))
			}
			for _, data := range c.sent {
				s.send(t, data)
			}
			got := make([]byte, len(c.seen))
			if _, err := io.ReadFull(peer, got); err != nil {
				t.Fatal(err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(seen) != len(c.seen) {
				t.Fatalf("handled %q", seen)
			}
			for i := range seen {
				if seen[i] != c.seen[i] {
					t.Errorf("when message %d is handled, %q has arrived", i, seen[i])
				}
			}
		})
	}
}

// There is one of each for every client, most of which wait most of the time. The
// allocator has no class between these sizes and the next, which are 32 and 16 bytes more.
func TestAnIdleConnectionIsNoLargerThanItHasToBe(t *testing.T) {
	if size := unsafe.Sizeof(Conn{}); size > 288 {
		t.Errorf("a Conn has %d bytes", size)
	}
	if size := unsafe.Sizeof(socket{}); size > 224 {
		t.Errorf("a socket has %d bytes", size)
	}
}

// Prefetch reads one word of a Conn, and two of a socket: what a write needs must be close to
// them, in bytes.
func TestWhatAWriteNeedsStandsTogether(t *testing.T) {
	var c Conn
	if end := unsafe.Offsetof(c.tls) + unsafe.Sizeof(c.tls); end > 64 {
		t.Errorf("of a Conn it is the first %d bytes", end)
	}
	var s socket
	for name, at := range map[string]uintptr{
		"raw": unsafe.Offsetof(s.raw), "fd": unsafe.Offsetof(s.fd), "mu": unsafe.Offsetof(s.mu), "closing": unsafe.Offsetof(s.closing),
		"writing": unsafe.Offsetof(s.writing), "closed": unsafe.Offsetof(s.closed), "err": unsafe.Offsetof(s.err), "rest": unsafe.Offsetof(s.rest),
	} {
		if out, in := unsafe.Offsetof(s.out), unsafe.Offsetof(s.in); at+64 < out || at > in || in-out > 2*64 {
			t.Errorf("%s at %d is not between %d and %d", name, at, out, in)
		}
	}
}

// What others write to the same sockets meanwhile is neither lost nor changed.
func TestManyGatherForOneSocket(t *testing.T) {
	c, peer := other(t)
	const authors, rounds = 4, 500
	var writing sync.WaitGroup
	for i := range authors {
		author, _ := other(t)
		writing.Go(func() {
			for range rounds {
				author.gather()
				c.WriteWith(author.Batch(), []byte{'a' + byte(i)})
				c.WriteWith(author.Batch(), []byte{'A' + byte(i)})
				author.Flush()
			}
		})
	}
	got := make([]byte, authors*rounds*2)
	if _, err := io.ReadFull(peer, got); err != nil {
		t.Fatal(err)
	}
	writing.Wait()
	for i := range authors {
		if n, m := bytes.Count(got, []byte{'a' + byte(i)}), bytes.Count(got, []byte{'A' + byte(i)}); n != rounds || m != rounds {
			t.Errorf("of author %d arrived %d and %d of %d", i, n, m, rounds)
		}
	}
}
