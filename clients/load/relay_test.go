package load

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// A testRelay is a small y-websocket server for documents as the generator types them. Its faults are
// what the generator has to notice.
type testRelay struct {
	fault string // "", "lose", "repeat", "garble", "forget", "keep"

	mu    sync.Mutex
	came  *sync.Cond // an update
	docs  map[string]*testDocument
	count int
}

type testDocument struct {
	typed   map[uint64][]byte
	members map[*websocket.Conn]int // and how many updates came of each
}

func (v *testDocument) visitRun(r *run) {
	if known := v.typed[r.client]; int(r.clock) <= len(known) && int(r.clock)+len(r.text) > len(known) {
		v.typed[r.client] = append(known[:r.clock], r.text...)
	}
}
func (v *testDocument) visitDeletion(uint64, uint32, uint32) {}

func startTestRelay(t *testing.T, fault string) *testRelay {
	t.Helper()
	s := &testRelay{fault: fault, docs: make(map[string]*testDocument)}
	s.came = sync.NewCond(&s.mu)
	return s
}

// runner is one that drives the relay over a real socket.
func (s *testRelay) runner(t *testing.T) *Runner {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	r := &Runner{Target: Target{Name: "test", URLs: []string{strings.Replace(server.URL, "http", "ws", 1)}}, Seed: 1}
	if err := r.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func (s *testRelay) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	conn, err := websocket.Accept(w, request, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 24)
	s.mu.Lock()
	d := s.docs[request.URL.Path]
	if d == nil {
		d = &testDocument{typed: make(map[uint64][]byte), members: make(map[*websocket.Conn]int)}
		s.docs[request.URL.Path] = d
	}
	d.members[conn] = 0
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(d.members, conn)
		s.mu.Unlock()
	}()
	write := func(to *websocket.Conn, m []byte) { _ = to.Write(context.Background(), websocket.MessageBinary, m) }
	write(conn, []byte{messageSync, syncStep1, 1, 0})
	for {
		_, m, err := conn.Read(request.Context())
		if err != nil {
			return
		}
		s.mu.Lock()
		s.handle(d, conn, m, write)
		s.mu.Unlock()
	}
}

func (s *testRelay) handle(d *testDocument, from *websocket.Conn, m []byte, write func(*websocket.Conn, []byte)) {
	r := reader{data: m}
	kind := r.uint()
	if kind == messageAwareness {
		for to := range d.members {
			write(to, m)
		}
		return
	}
	step := r.uint()
	body := r.bytes()
	if step == syncStep1 {
		write(from, appendBytes([]byte{messageSync, syncStep2}, d.encode()))
		return
	}
	if len(body) == 2 {
		return
	}
	if step == syncStep2 { // what was typed offline
		_ = readUpdate(body, d)
		for to := range d.members {
			if s.fault != "keep" && to != from {
				write(to, appendBytes([]byte{messageSync, syncUpdate}, body))
			}
		}
		return
	}
	s.count++
	d.members[from]++
	s.came.Broadcast()
	odd := s.count%20 == 0
	if s.fault == "forget" && odd {
		// Handed out, but not kept: the text differs in the end.
	} else {
		_ = readUpdate(body, d)
	}
	for to := range d.members {
		switch {
		case s.fault == "lose" && odd:
			odd = false // one receiver goes without
			continue
		case s.fault == "repeat" && odd:
			write(to, m)
		case s.fault == "garble" && odd:
			garbled := append([]byte(nil), m...)
			garbled[len(garbled)-2] ^= 1 // the character
			write(to, garbled)
			continue
		}
		write(to, m)
	}
}

// waitUntilTyping waits until so many clients are there, each of which has typed something
// since it came, or until ctx is done.
func (s *testRelay) waitUntilTyping(ctx context.Context, clients int) error {
	const each = 10
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock() // whoever has seen that ctx is not done waits by now
		defer s.mu.Unlock()
		s.came.Broadcast()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	for ctx.Err() == nil {
		typing := 0
		for _, d := range s.docs {
			for _, updates := range d.members {
				if updates >= each {
					typing++
				}
			}
		}
		if typing == clients {
			return nil
		}
		s.came.Wait()
	}
	return ctx.Err()
}

// drop ends all connections.
func (s *testRelay) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.docs {
		for conn := range d.members {
			_ = conn.CloseNow()
			delete(d.members, conn)
		}
	}
}

func (d *testDocument) encode() []byte {
	var descending []uint64
	for client := range d.typed {
		descending = append(descending, client)
	}
	slices.SortFunc(descending, func(a, b uint64) int { return cmp.Compare(b, a) })
	to := appendUint(nil, uint64(len(descending)))
	for _, client := range descending {
		to = appendID(append(to, 1), id{client, 0})
		to = appendText(to, nil, nil, d.typed[client])
	}
	return append(to, 0)
}
