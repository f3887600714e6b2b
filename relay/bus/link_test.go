package bus

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// tcpPair is a link to one end of a TCP connection, and the other end.
func tcpPair(t *testing.T) (*link, *wire, net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	l := &link{}
	c, err := l.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); peer.Close() })
	return l, c.(*wire), peer
}

func TestBytesArriveInOrderHoweverSlowlyTheyAreRead(t *testing.T) {
	l, w, peer := tcpPair(t)
	var sent bytes.Buffer
	piece := make([]byte, 0, 100_000)
	for i := range 300 {
		piece = piece[:0]
		for range i * 300 {
			piece = append(piece, byte(i))
		}
		sent.Write(piece)
		if n, err := w.Write(piece); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
		clear(piece) // as nats.go reuses its buffer
	}
	if l.backlog() == 0 {
		t.Error("the kernel took everything: nothing was tested")
	}
	got := make([]byte, sent.Len())
	if _, err := io.ReadFull(peer, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent.Bytes()) {
		t.Error("the bytes differ")
	}
	// Without a backlog writing is direct again, whatever deadlines there were.
	if _, err := w.Write([]byte("direct")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(peer, got[:6]); err != nil || string(got[:6]) != "direct" {
		t.Errorf("got %q, %v", got[:6], err)
	}
	if l.backlog() != 0 {
		t.Errorf("%d bytes wait", l.backlog())
	}
}

type pipeServer struct{ end net.Conn }

func (p *pipeServer) InProcessConn() (net.Conn, error) {
	var c net.Conn
	c, p.end = net.Pipe()
	return c, nil
}

func TestStalledConnectionIsGivenUpAfterTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &pipeServer{}
		l := &link{server: server}
		c, err := l.InProcessConn()
		if err != nil {
			t.Fatal(err)
		}
		w := c.(*wire)
		w.confirmed.Store(true)
		if n, err := c.Write(make([]byte, 1<<20)); n != 1<<20 || err != nil {
			t.Fatal(n, err)
		}
		// As long as anything is taken within the time, it is not stalled.
		for range 5 {
			time.Sleep(stallTime - time.Second)
			if _, err := io.ReadFull(server.end, make([]byte, pieceSize)); err != nil {
				t.Fatal(err)
			}
		}
		if !l.up() || l.backlog() == 0 {
			t.Fatal("given up although bytes were taken")
		}
		time.Sleep(stallTime + time.Second)
		if l.up() || l.backlog() != 0 {
			t.Error("still in use")
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("write after the end")
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("read after the end")
		}
		c.Close()
	})
}

func TestClosingWaitsForAnEmbeddedServerButNotForLong(t *testing.T) {
	for name, reads := range map[string]bool{"reading": true, "stuck": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &pipeServer{}
				l := &link{server: server}
				c, err := l.InProcessConn()
				if err != nil {
					t.Fatal(err)
				}
				var got []byte
				var reader sync.WaitGroup
				if reads {
					reader.Go(func() { got, _ = io.ReadAll(server.end) })
				}
				if _, err := c.Write([]byte("farewell")); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				c.Close()
				c.Close()
				if took := time.Since(began); took > lingerTime {
					t.Errorf("closing took %v", took)
				}
				reader.Wait()
				if reads && string(got) != "farewell" {
					t.Errorf("the server got %q", got)
				}
				if _, err := c.Write(nil); !errors.Is(err, errLinkClosed) {
					t.Errorf("write after close: %v", err)
				}
			})
		})
	}
}

func TestReaderWaitsForHandlersOncePerWindow(t *testing.T) {
	l, w, peer := tcpPair(t)
	var waited atomic.Int64
	settle := func() { waited.Add(1) }
	l.awaitHandlers.Store(&settle)
	go func() {
		piece := make([]byte, 1<<20)
		for range 3 * readWindow >> 20 {
			if _, err := peer.Write(piece); err != nil {
				return
			}
		}
		peer.Close()
	}()
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{w}); err != nil {
		t.Fatal(err)
	}
	if n := waited.Load(); n < 2 || n > 3 {
		t.Errorf("waited %d times for three windows", n)
	}
	if l.up() {
		t.Error("a connection at its end is in use")
	}
}
