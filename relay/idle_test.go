package relay

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/wsnode/wsnode/authn"
)

// idleBytes is what an idle session may take of the heap, this test's end of the connection
// included. Before a connection could carry several sessions it took 2,115 B (3bca598).
const idleBytes = 2150

// An idle session of a y-websocket client costs no goroutine, and no more memory than it
// did when nothing but y-websocket was spoken.
func TestAnIdleSessionStaysSmall(t *testing.T) {
	const sessions = 500
	w := newWorld(t)
	n := w.node("eu", "n1")
	token := w.token(authn.Subject{Tenant: "acme", App: "notes", License: license})
	open(t, n, "todo", token) // and what all have in common
	goroutines := runtime.NumGoroutine()
	settle := func() int64 {
		t.Helper()
		for end := time.Now().Add(patience); runtime.NumGoroutine() > goroutines+20; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
			}
		}
		return held()
	}
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	least := int64(1 << 62)
	for range 4 { // in some of them maps grow, which serves the next as well
		before := settle()
		for range sessions {
			conns = append(conns, raw(t, n.addr, "todo", token))
		}
		least = min(least, (settle()-before)/sessions)
	}
	if t.Logf("%d B for each", least); least > idleBytes {
		t.Errorf("an idle session takes %d B, expected at most %d", least, idleBytes)
	}
}

// held is the memory in use.
func held() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// raw connects and sends a SyncStep1, without a client library, whose memory would count.
func raw(t *testing.T, addr, name, token string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	request := "GET /" + name + " HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer " + token + "\r\n\r\n"
	if _, err := c.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 12)
	if _, err := c.Read(first); err != nil || string(first[9:]) != "101" {
		t.Fatalf("%v: %q", err, first)
	}
	if _, err := c.Write([]byte{0x82, 0x84, 0, 0, 0, 0, 0, 0, 1, 0}); err != nil {
		t.Fatal(err)
	}
	return c
}
