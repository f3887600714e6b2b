package frontdoor

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

// siege is attackers who keep at it until they are stopped.
type siege struct {
	addr  string // of the node
	token string

	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup
	attacks []*attack
}

// attack is what one kind of attacker has done so far.
type attack struct {
	name    string
	begun   atomic.Int64
	cut     atomic.Int64 // sockets that the node ended
	longest atomic.Int64 // how long it bore one of those, in nanoseconds
	refused atomic.Int64 // sockets that never came to be
}

func newSiege(t *testing.T, node *cluster.Node, token string) *siege {
	s := layTo(node.Addr, token)
	t.Cleanup(s.end)
	return s
}

// layTo makes the attackers of the node at an address; the caller ends the siege.
func layTo(addr, token string) *siege {
	s := &siege{addr: addr, token: token}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

func (s *siege) end() {
	s.stop()
	s.wg.Wait()
}

// unmoved reports whether the node has yet to end a socket of one of the attacks.
func (s *siege) unmoved(attacks ...*attack) bool {
	return slices.ContainsFunc(attacks, func(a *attack) bool { return a.cut.Load() == 0 })
}

func (s *siege) report(t *testing.T) {
	t.Helper()
	for _, a := range s.attacks {
		t.Logf("%s: %d begun, %d could not, %d ended by the node, the longest after %v", a.name, a.begun.Load(), a.refused.Load(),
			a.cut.Load(), time.Duration(a.longest.Load()).Round(time.Millisecond))
	}
}

// breather keeps attackers from spending the machine on themselves.
const breather = 50 * time.Millisecond

// keep has n attackers repeat an attack on a new connection each time. What attack
// returns is how the connection ended; nil: by the attacker.
func (s *siege) keep(name string, n int, assault func(conn net.Conn) error) *attack {
	a := &attack{name: name}
	s.attacks = append(s.attacks, a)
	for range n {
		s.wg.Go(func() {
			for s.ctx.Err() == nil {
				s.once(a, assault)
				s.sleep(breather)
			}
		})
	}
	return a
}

func (s *siege) once(a *attack, assault func(net.Conn) error) {
	conn, err := new(net.Dialer).DialContext(s.ctx, "tcp", s.addr)
	if err != nil {
		a.refused.Add(1)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(s.ctx, func() { conn.Close() })()
	start := time.Now()
	a.begun.Add(1)
	if err := assault(conn); err == nil || s.ctx.Err() != nil {
		return
	}
	a.cut.Add(1)
	for lasted := int64(time.Since(start)); ; {
		longest := a.longest.Load()
		if lasted <= longest || a.longest.CompareAndSwap(longest, lasted) {
			return
		}
	}
}

// sleep reports whether the siege goes on after the pause.
func (s *siege) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// request is a good handshake for one of a few documents, from anywhere.
func (s *siege) request() []byte {
	address := fmt.Sprintf("10.%d.%d.%d", rand.IntN(256), rand.IntN(256), rand.IntN(256))
	return []byte(handshake(s.addr, fmt.Sprintf("besieged-%d", rand.IntN(4)), s.token, address))
}

// idle says nothing.
func (s *siege) idle(conn net.Conn) error { return readToEnd(conn) }

// slowHeaders goes on sending header lines, a byte at a time.
func (s *siege) slowHeaders(conn net.Conn) error {
	const line = "X-More: yes\r\n"
	_, err := io.WriteString(conn, "GET /besieged HTTP/1.1\r\nHost: "+s.addr+"\r\n")
	for i := 0; err == nil && s.sleep(100*time.Millisecond); i++ {
		_, err = io.WriteString(conn, line[i%len(line):i%len(line)+1])
	}
	return err
}

// halfHandshake stops in the middle of a handshake.
func (s *siege) halfHandshake(conn net.Conn) error {
	request := s.request()
	if err := sendAll(conn, request[:len(request)/2]); err != nil {
		return err
	}
	return readToEnd(conn)
}

// mute opens a WebSocket, and neither reads nor writes any more.
func (s *siege) mute(conn net.Conn) error {
	err := sendAll(conn, s.request())
	<-s.ctx.Done()
	return err
}

// vanish asks for a WebSocket and is gone, with or without waiting for it, in a way that
// tells the node by a reset at best.
func (s *siege) vanish(conn net.Conn) error {
	err := sendAll(conn, s.request())
	if err == nil && rand.IntN(2) == 0 {
		_, err = conn.Read(make([]byte, 1))
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	return err
}

// deaf asks for a whole document again and again, and reads nothing of it.
func (s *siege) deaf(conn net.Conn) error {
	err := sendAll(conn, s.request())
	// It says that it has nothing of client 100: a question that no kept answer fits.
	ask := appendFrame(nil, final|opBinary, []byte{0, 0, 3, 1, 100, 0})
	for err == nil && s.ctx.Err() == nil {
		err = sendAll(conn, ask)
	}
	return err
}

// endless sends a message in empty fragments that never ends.
func (s *siege) endless(conn net.Conn) error {
	err := sendAll(conn, append(s.request(), appendFrame(nil, opBinary, []byte{0})...))
	var empty []byte
	for range 100 {
		empty = appendFrame(empty, opContinuation, nil)
	}
	for err == nil && s.sleep(10*time.Millisecond) {
		err = sendAll(conn, empty)
	}
	return err
}

// squeezed sends a compressed frame, which nobody agreed on, and waits to be sent away.
func (s *siege) squeezed(conn net.Conn) error {
	bomb := make([]byte, 4<<10) // whatever it would unpack to
	if err := sendAll(conn, append(s.request(), appendFrame(nil, final|compressed|opBinary, bomb)...)); err != nil {
		return err
	}
	return readToEnd(conn)
}

// readToEnd reads until the node ends the connection.
func readToEnd(conn net.Conn) error {
	_, err := io.Copy(io.Discard, conn)
	if err == nil {
		err = io.EOF
	}
	return err
}
