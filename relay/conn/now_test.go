package conn

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// socketPair is two ends of a TCP connection over loopback.
func socketPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

// control calls f with the socket.
func control(t testing.TB, c *net.TCPConn, f func(fd int)) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { f(int(fd)) }); err != nil {
		t.Fatal(err)
	}
}

func TestWritingNowTakesWhatTheSocketTakesAndNoMore(t *testing.T) {
	from, to := socketPair(t)
	if err := from.SetWriteBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	all := make([]byte, 64<<20) // more than any socket takes
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(all)
	var n int
	control(t, from, func(fd int) {
		var err error
		if n, err = writeNow(fd, all); err != nil || n == 0 || n == len(all) {
			t.Errorf("wrote %d of %d bytes, error %v; expected a part", n, len(all), err)
		}
		// The peer's buffer may take some more meanwhile.
		for err == nil {
			var more int
			more, err = writeNow(fd, all[n:])
			n += more
		}
		if err != syscall.EAGAIN {
			t.Errorf("a full socket: %v, expected EAGAIN", err)
		}
	})
	if err := from.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(to)
	if err != nil || !bytes.Equal(got, all[:n]) {
		t.Errorf("the peer read %d bytes (error %v), expected the first %d", len(got), err, n)
	}
}

func TestAPeerThatReadsFastHoldsNoWriterUp(t *testing.T) {
	from, to := socketPair(t)
	read := make(chan int64)
	go func() {
		n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, to, make([]byte, 1<<20))
		read <- n
	}()
	c := newSocket(from)
	all := make([]byte, 64<<20)
	written := int64(0)
	for range 10 {
		n, err := c.tryWrite(all)
		if err != nil || n > tryMost {
			t.Errorf("wrote %d bytes in one go (error %v), expected at most %d", n, err, tryMost)
		}
		written += int64(n)
	}
	if err := from.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n := <-read; n != written {
		t.Errorf("the peer read %d bytes of %d", n, written)
	}
}

func TestASocketThatIsClosedIsNotWrittenTo(t *testing.T) {
	from, _ := socketPair(t)
	c := newSocket(from)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	next, peer := socketPair(t) // one of which nearly always gets its descriptor
	c.mu.Lock()
	n, err := c.tryWrite([]byte("for another"))
	c.mu.Unlock()
	if n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("wrote %d bytes, error %v; expected %v", n, err, net.ErrClosed)
	}
	for _, end := range []*net.TCPConn{next, peer} {
		control(t, end, func(fd int) {
			if n, err := readNow(fd, make([]byte, 16)); err != syscall.EAGAIN {
				t.Errorf("another connection got %d bytes (error %v)", n, err)
			}
		})
	}
}

func TestReadingNowDoesNotWait(t *testing.T) {
	from, to := socketPair(t)
	b := make([]byte, 8)
	control(t, to, func(fd int) {
		if _, err := readNow(fd, b); err != syscall.EAGAIN {
			t.Errorf("nothing to read: %v, expected EAGAIN", err)
		}
	})
	if _, err := from.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	raw, err := to.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, failed = readNow(int(fd), b)
		return failed != syscall.EAGAIN
	})
	if err = errors.Join(err, failed); err != nil || string(b[:n]) != "abc" {
		t.Errorf("read %q, error %v; expected abc", b[:n], err)
	}
}

// deadlines is a connection that knows the last deadline for writing.
type deadlines struct {
	net.Conn
	mu   sync.Mutex
	last time.Time
	set  int
}

func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = at
	d.set++
	return nil
}

func TestNoDeadlineIsLeftOfAPeerThatWasSlowOnce(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	d := &deadlines{Conn: ours}
	c := newSocket(d)
	defer c.Close()
	c.direct(nil, time.Minute)
	if behind, err := c.writeShared(make([]byte, 100)); !behind || err != nil {
		t.Fatal(behind, err)
	}
	if _, err := io.ReadFull(theirs, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return !c.behind() })
	if d.mu.Lock(); d.set < 2 || !d.last.IsZero() {
		t.Errorf("after %d deadlines, %s stands", d.set, d.last)
	}
	d.mu.Unlock()
}
