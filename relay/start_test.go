package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/relay/bus"
)

func TestANodeThatWaitsForNATSAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := Start(ctx, Options{
			Config: Config{Version: "1.2.3"}, Listener: l, NATS: bus.ConnectConfig{URL: "nats://127.0.0.1:1"},
		})
		ended <- err
	}()
	for path, says := range map[string]string{"/health": `"degraded"`, "/": `"version":"1.2.3"`, "/discovery": `"unavailable"`} {
		answer, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), says) || answer.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s, %s", path, answer.Status, body)
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("a node without NATS started")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}
