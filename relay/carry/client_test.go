package carry

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/wire"
)

// unlimited is a conn.Guard.
type unlimited struct{}

func (unlimited) Received(int) time.Duration { return 0 }
func (unlimited) Framed(bool) time.Duration  { return 0 }

// entering is a client of which somebody is told that a message comes.
type entering struct {
	*Client
	comes chan struct{}
}

func (e entering) Message(message []byte) time.Duration {
	select {
	case e.comes <- struct{}{}:
	default:
	}
	return e.Client.Message(message)
}

// What the messages before it had others sent does not wait for a stream that begins.
func TestAMessageWaitsForItsStreamWithNothingGathered(t *testing.T) {
	var running sync.WaitGroup
	served := make(chan entering, 1)
	conns := conn.Config{RefuseAfter: -1}
	conns.SetDefaults()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := conn.Accept(w, r, "")
		if err != nil {
			t.Error(err)
			return
		}
		e := entering{NewClient(c, nil, unlimited{}, running.Go), make(chan struct{}, 1)}
		c.Attach(&conns, conn.NewKeepalive(t.Context()), e, unlimited{}, nil)
		e.taking.Lock() // a stream begins
		served <- e
		running.Go(func() { c.Run(e.End) })
	}))
	server.Listener = conn.Listener{Listener: server.Listener}
	server.Start()
	t.Cleanup(func() { server.Close(); running.Wait() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	peer, _, _, err := ws.Dial(ctx, "ws"+strings.TrimPrefix(server.URL, "http"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	e := <-served
	var two bytes.Buffer // whole at once, so that there is something to gather for
	for range 2 {
		message := bytes.Clone(wire.Encode(wire.Update, []byte{0, 0}).Content())
		if err := ws.WriteFrame(&two, ws.MaskFrame(ws.NewBinaryFrame(message))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := peer.Write(two.Bytes()); err != nil {
		t.Fatal(err)
	}
	<-e.comes
	for e.conn.Batch() != nil {
		if ctx.Err() != nil {
			t.Error("what is gathered waits for the stream")
			break
		}
		runtime.Gosched()
	}
	e.taking.Unlock()
}
