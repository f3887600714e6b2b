package frontdoor

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/clients/load"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/crowd"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/wait"
)

// TestUnfinishedDocumentsDoNotFillTheMemory is about clients with good tokens that send
// most of a large document and then stop.
func TestUnfinishedDocumentsDoNotFillTheMemory(t *testing.T) {
	cluster.WithoutRace(t)
	keys := issuer.New(t)
	token := keys.Token(nil)
	node := cluster.Serve{Region: "eu-central-1", JWKS: keys.JWKS, NATS: cluster.StartNATS(t), Flags: []string{
		"--admin-listen", "off", "--trusted-proxy", "127.0.0.0/8",
		"--max-document-bytes", "50000000", "--max-incoming-bytes", "100000000",
	}}.StartHealthy(t)
	before := memory(t, node)
	good := crowd.Start(t, "two clients", load.Target{Name: "node", URLs: []string{node.WS()}, Token: token}, load.EndureOptions{Docs: 1, Clients: 2, Rate: 20})

	const hoarders, sent = 16, 40 << 20
	whole := wire.AppendBytes([]byte{0, 1}, make([]byte, sent+1<<20)) // a SyncStep2
	part := fragments(whole, 64<<10)[:sent]
	s := newSiege(t, node, token)
	var stopped, refused atomic.Int64
	s.keep("unfinished documents", hoarders, func(conn net.Conn) error {
		how := s.hoard(conn, part, &stopped)
		if how.code == 1013 {
			refused.Add(1)
		}
		<-s.ctx.Done()
		return nil
	})
	wait.Within(t, patience, "all hoarders have stopped half way or been refused", func() bool { return stopped.Load() >= 1 && stopped.Load()+refused.Load() >= hoarders })
	entered := enter(t, node, token)
	good.Wait(time.Second)
	result := good.Finish()
	peak := memory(t, node)
	t.Logf("%d of %d were refused; a new client got in within %v; memory: %d MiB before, %d MiB at most", refused.Load(), hoarders, entered, before>>20, peak>>20)
	if returns, _ := result.Value("returns"); returns > 0 {
		t.Errorf("good clients were disconnected %v times", returns)
	}
	if refused.Load() < hoarders-2 {
		t.Errorf("%d of %d were refused, there is room for two", refused.Load(), hoarders)
	}
	if limit := int64(800 << 20); peak > limit {
		t.Errorf("the node used %d MiB, good are %d; without a bound it is twice as much", peak>>20, limit>>20)
	}

	s.end()
	wait.Within(t, patience, "there is room for a large message again", func() bool {
		return uploads(t, node, token, strings.Repeat("x", 8<<20)+"the end")
	})
}

// hoard sends a part of a message and stops; if the node closes the WebSocket, it says how.
func (s *siege) hoard(conn net.Conn, part []byte, stopped *atomic.Int64) (how closed) {
	w, err := takeOver(conn, string(s.request()))
	if err != nil {
		return how
	}
	go func() {
		_ = sendAll(conn, part) // the node may hang up before
		stopped.Add(1)
	}()
	how, _ = w.waitClosed()
	return how
}

// uploads reports whether the node takes a text; it may ask to come again.
func uploads(t *testing.T, node *cluster.Node, token, text string) bool {
	t.Helper()
	other := join(t, node, "uploaded", token, nil)
	defer other.Close()
	writer := join(t, node, "uploaded", token, nil)
	defer writer.Close()
	must(t, sendAll(writer, appendFrame(nil, final|opBinary, insertion(1, text))))
	must(t, sendAll(writer, appendFrame(nil, final|opBinary, askAll)))
	err := writer.waitHolds(text[len(text)-7:])
	if how := (closed{}); errors.As(err, &how) && how.code == 1013 {
		return false
	}
	must(t, err)
	must(t, other.waitHolds(text[len(text)-7:]))
	return true
}
