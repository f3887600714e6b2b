package frontdoor

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wsnode/wsnode/clients/load"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/crowd"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/wait"
)

const (
	idleSockets   = 10_000
	messageLimit  = 16 << 20         // --max-message-bytes
	headerTimeout = 10 * time.Second // relay/server.go
)

func TestGoodClientsAreUnaffectedByHostileSockets(t *testing.T) {
	cluster.WithoutRace(t)
	keys := issuer.New(t)
	token := keys.Token(nil)
	node := cluster.Serve{Region: "eu-central-1", JWKS: keys.JWKS, NATS: cluster.StartNATS(t), Flags: []string{
		"--admin-listen", "off",
		"--trusted-proxy", "127.0.0.0/8", // by which attackers come from everywhere
	}}.StartHealthy(t)
	target := load.Target{Name: "node", URLs: []string{node.WS()}, Token: token}
	pair := load.EndureOptions{Docs: 1, Clients: 2, Rate: 20}
	before, files := memory(t, node), openFiles(t, node)

	calm := crowd.Start(t, "two clients in peace", target, pair)
	fill(t, node, token)
	calm.Wait(2 * time.Second)
	calm.Finish()

	good := crowd.Start(t, "two clients under siege", target, pair)
	s := newSiege(t, node, token)
	idle := s.keep("connections that say nothing", idleCount(t), s.idle)
	slow := s.keep("headers byte by byte", 200, s.slowHeaders)
	half := s.keep("half a handshake", 200, s.halfHandshake)
	s.keep("sessions that say nothing", 200, s.mute)
	s.keep("clients that vanish", 10, s.vanish)
	s.keep("sessions that ask and do not read", 20, s.deaf)
	s.keep("messages without end", 5, s.endless)
	s.keep("compressed frames", 5, s.squeezed)
	wait.Within(t, patience, "all connections that say nothing are open", func() bool { return idle.begun.Load() >= int64(idleCount(t)) })

	for _, c := range []struct {
		name  string
		check func(*testing.T, *cluster.Node, string)
	}{
		{"TCP segments of one byte work", segmentsOfOneByte},
		{"WebSocket fragments of one byte work", fragmentsOfOneByte},
		{"a fragmented message below the limit works", largeMessage},
		{"a fragmented message over the limit is refused", tooLargeMessage},
		{"a compressed frame is refused", compressedFrame},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(t, node, token) })
	}
	var slowest time.Duration
	entered := 0
	for start := time.Now(); time.Since(start) < siegeLength() || s.unmoved(slow, half, idle) && time.Since(start) < patience; entered++ {
		slowest = max(slowest, enter(t, node, token))
		good.Wait(200 * time.Millisecond)
	}
	besieged := good.Finish()
	s.end()
	s.report(t)
	peak := memory(t, node)
	t.Logf("%d new clients got in, the slowest within %v; memory: %d MiB before, %d MiB at most", entered, slowest, before>>20, peak>>20)

	if returns, _ := besieged.Value("returns"); returns > 0 {
		t.Errorf("good clients were disconnected %v times", returns)
	}
	if half := crowd.Value(besieged, "latency p50"); half > tolerable {
		t.Errorf("half of the edits took more than %v, tolerable are %v", half, tolerable)
	}
	if slowest > patience/4 {
		t.Errorf("a new client waited %v", slowest)
	}
	if peak > memoryLimit {
		t.Errorf("the node used %d MiB, good are %d", peak>>20, memoryLimit>>20)
	}
	for _, a := range []*attack{slow, half, idle} {
		if longest := time.Duration(a.longest.Load()); a.cut.Load() == 0 || longest > 4*headerTimeout {
			t.Errorf("%s: the node ended %d of %d, and bore one for %v; want all to end after about %v", a.name, a.cut.Load(), a.begun.Load(), longest, headerTimeout)
		}
	}
	wait.Within(t, patience, "the node has closed what the attackers left", func() bool { return openFiles(t, node) <= files+20 })
}

// tolerable is what half of the edits may take while the attackers share the machine's
// few cores with the node: people notice a third of a second.
const tolerable = 300 * time.Millisecond

// memoryLimit is what the siege may drive a node to, in bytes. 500 to 650 MiB were seen.
const memoryLimit = 1 << 30

// siegeLength is how long the siege lasts at least once everybody is there.
func siegeLength() time.Duration {
	if soak() {
		return 90 * time.Second
	}
	return time.Second
}

// idleCount is 10,000, or what the limit of open files leaves this process and the node.
func idleCount(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	const others = 2000
	n := min(idleSockets, int(min(limit.Cur, 1<<20))-others)
	if n < idleSockets {
		t.Logf("%d idle connections instead of %d: a process may open %d files only", n, idleSockets, limit.Cur)
	}
	return n
}

// fill makes the attackers' documents worth asking for.
func fill(t *testing.T, node *cluster.Node, token string) {
	t.Helper()
	for i := range 4 {
		s := join(t, node, fmt.Sprintf("besieged-%d", i), token, nil)
		must(t, sendAll(s, appendFrame(nil, final|opBinary, insertion(uint32(i+1), strings.Repeat("x", 1<<20)))))
		must(t, sendAll(s, appendFrame(nil, final|opBinary, askAll)))
		must(t, s.waitHolds("xxx"))
		t.Cleanup(func() { s.Close() })
	}
}

// join opens a document as a good client and waits until it is synced.
func join(t *testing.T, node *cluster.Node, document, token string, send func(net.Conn, []byte) error) *socket {
	t.Helper()
	s, err := tryJoin(node, document, token, send)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func tryJoin(node *cluster.Node, document, token string, send func(net.Conn, []byte) error) (*socket, error) {
	s, err := open(node.Addr, handshake(node.Addr, document, token, goodAddress), send)
	if err != nil {
		return nil, err
	}
	if err = sendAll(s, appendFrame(nil, final|opBinary, askAll)); err == nil {
		err = s.waitHolds("\x00\x01")
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// enter is how long a new client takes until it is synced.
func enter(t *testing.T, node *cluster.Node, token string) time.Duration {
	t.Helper()
	start := time.Now()
	s := join(t, node, "besieged-0", token, nil)
	defer s.Close()
	return time.Since(start)
}

func segmentsOfOneByte(t *testing.T, node *cluster.Node, token string) {
	other := join(t, node, "bytes", token, nil)
	slow := join(t, node, "bytes", token, sendBytes)
	must(t, sendBytes(slow, appendFrame(nil, final|opBinary, insertion(1, "byte by byte"))))
	must(t, other.waitHolds("byte by byte"))
}

func fragmentsOfOneByte(t *testing.T, node *cluster.Node, token string) {
	other := join(t, node, "fragments", token, nil)
	slow := join(t, node, "fragments", token, nil)
	text := strings.Repeat("fragment by fragment, ", 1000)
	must(t, sendAll(slow, fragments(insertion(1, text), 1)))
	must(t, other.waitHolds(text))
}

func largeMessage(t *testing.T, node *cluster.Node, token string) {
	other := join(t, node, "large", token, nil)
	writer := join(t, node, "large", token, nil)
	const end = "the end"
	must(t, sendAll(writer, fragments(insertion(1, strings.Repeat("x", messageLimit-1000)+end), 64<<10)))
	must(t, other.waitHolds(end))
}

func tooLargeMessage(t *testing.T, node *cluster.Node, token string) {
	writer := join(t, node, "too-large", token, nil)
	message := fragments(insertion(1, strings.Repeat("x", messageLimit+1000)), 64<<10)
	go sendAll(writer, message) // the node may hang up before it has read everything
	how, err := writer.waitClosed()
	must(t, err)
	if want := (closed{1009, "Message too large: limit 16777216 bytes"}); how != want {
		t.Errorf("%v, want %v", how, want)
	}
}

func compressedFrame(t *testing.T, node *cluster.Node, token string) {
	s := join(t, node, "compressed", token, nil)
	must(t, sendAll(s, appendFrame(nil, final|compressed|opBinary, insertion(1, "compressed"))))
	how, err := s.waitClosed()
	must(t, err)
	if how.code != 1002 {
		t.Errorf("%v, want 1002: nobody agreed on compression", how)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
