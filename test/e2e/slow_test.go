package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// A document that takes 6 s on its link reaches a client who waits 3 s for a message: as
// 6 MB at 1 Mbit/s reach y-websocket, which waits 30 s. The soak is 50 MB at 1 Mbit/s.
func TestALargeDocumentArrivesOverASlowLink(t *testing.T) {
	t.Parallel()
	const letters = "0123456789abcdef"
	size, rate, patience, most := 3<<20, 3<<20/6, 3*time.Second, 90*time.Second
	if os.Getenv("WSNODE_SOAK") != "" {
		size, rate, patience, most = 50_000_000, 1_000_000/8, 30*time.Second, 20*time.Minute
	}
	dev := cluster.StartDev(t)
	token := dev.Token()
	writer := yjs.Start(t).Join(on(dev, cluster.EU, 0, token, "large"))
	for left := size; left > 0; left -= 1 << 20 {
		writer.Insert(0, strings.Repeat(letters, min(left, 1<<20)/len(letters)))
	}
	writer.Insert(0, "!")
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	reader := yjs.Start(t).Join(on(dev, cluster.EU, 0, token, "large"))
	reader.WaitSynced()

	start := time.Now()
	slow := exec.CommandContext(ctx, "node", "slow.mjs", "ws://"+slowLink(t, dev.Addr(cluster.EU, 0), rate), "large", token, fmt.Sprint(patience.Milliseconds()))
	slow.Dir = yjs.Dir()
	out, err := slow.Output()
	if err != nil {
		t.Fatalf("the document never came: %v", err)
	}
	var got struct{ Connects, Length int }
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if got.Length < size {
		t.Errorf("%d characters came, want at least %d", got.Length, size)
	}
	t.Logf("%d characters at %d bytes/s in %v, %d connects", got.Length, rate, time.Since(start).Round(time.Second), got.Connects)
}

// slowLink is an address that leads to another, with so many bytes a second on the way
// back.
func slowLink(t *testing.T, to string, rate int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				down.Close()
				continue
			}
			_ = up.(*net.TCPConn).SetReadBuffer(16 << 10)
			go func() {
				_, _ = io.Copy(up, down)
				up.Close()
			}()
			go trickle(down, up, rate)
		}
	}()
	return l.Addr().String()
}

func trickle(down, up net.Conn, rate int) {
	defer down.Close()
	defer up.Close()
	const perSecond = 50
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := io.CopyN(down, up, int64(rate/perSecond)); err != nil {
			return
		}
	}
}
