package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/relay/wire"
)

// hurried serves the node on another port, where requests may take so long only.
func (n *testNode) hurried(t *testing.T, requests time.Duration) *testNode {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(n, ServerConfig{})
	if server.http.ReadTimeout != requestTimeout {
		t.Errorf("a request may take %v, expected %v", server.http.ReadTimeout, requestTimeout)
	}
	server.http.ReadTimeout = requests
	served := make(chan error, 1)
	go func() { served <- server.Serve(l, nil) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(server.Close(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return &testNode{Node: n.Node, addr: l.Addr().String()}
}

func TestARequestWhoseBodyNeverComesIsCutOff(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a").hurried(t, 300*time.Millisecond)
	for _, request := range []string{
		"GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
		"OPTIONS /usage HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
		"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\na part",
	} {
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if _, err := io.Copy(io.Discard, conn); errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%.40q still has its connection", request)
		}
	}
}

func TestAWebSocketOutlivesTheTimeOfARequest(t *testing.T) {
	const requests = 300 * time.Millisecond
	w := newWorld(t)
	n := w.node("eu-central-1", "a").hurried(t, requests)
	c := open(t, n, "todo", w.token(authn.Subject{}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 3 {
		time.Sleep(requests) // the client is silent beyond it
		if err := c.Write(ctx, websocket.MessageBinary, []byte{0, 0, 1, 0}); err != nil {
			t.Fatal(err)
		}
		for kind := wire.Kind(0); kind != wire.Step2; {
			_, data, err := c.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			m, err := wire.Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			kind = m.Kind
		}
	}
}
