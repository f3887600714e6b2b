package natsd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func connect(t *testing.T, s *Server) *nats.Conn {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func put(t *testing.T, nc *nats.Conn, key, value string) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateOrUpdateKeyValue(context.Background(), jetstream.KeyValueConfig{Bucket: "b", Storage: jetstream.FileStorage})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(context.Background(), key, value); err != nil {
		t.Fatal(err)
	}
	return kv
}

func TestServerWithoutListenerTakesInProcessConnectionsOnly(t *testing.T) {
	s := start(t, Config{})
	if s.URL() != "" {
		t.Errorf("URL is %q, expected none", s.URL())
	}
	put(t, connect(t, s), "k", "v")
}

func TestListeningServerTakesOtherProcesses(t *testing.T) {
	s := start(t, Config{Name: "eu-central-1", Listen: "127.0.0.1:0"})
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if nc.ConnectedServerName() != "eu-central-1" {
		t.Errorf("server is named %q", nc.ConnectedServerName())
	}
}

func TestTemporaryDirectoryIsRemovedOnClose(t *testing.T) {
	s := start(t, Config{})
	if _, err := os.Stat(s.temp); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := os.Stat(s.temp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestDataOutlivesTheServer(t *testing.T) {
	dir := t.TempDir()
	first := start(t, Config{StoreDir: dir})
	if config := first.nats.JetStreamConfig(); config == nil || !config.SyncAlways {
		t.Errorf("its writes are not synced: %+v", config)
	}
	put(t, connect(t, first), "k", "v")
	first.Close()
	js, err := jetstream.New(connect(t, start(t, Config{StoreDir: dir})))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(context.Background(), "b")
	if err != nil {
		t.Fatal(err)
	}
	entry, err := kv.Get(context.Background(), "k")
	if err != nil || string(entry.Value()) != "v" {
		t.Fatalf("got %v, %v", entry, err)
	}
}

func TestDirectoryIsRefusedWhileAnotherServerHasIt(t *testing.T) {
	dir := t.TempDir()
	start(t, Config{StoreDir: dir})
	if _, err := Start(Config{StoreDir: dir}); !errors.Is(err, errLocked) {
		t.Fatalf("got %v", err)
	}
}

func TestCloseDoesNotWaitForConnections(t *testing.T) {
	s := start(t, Config{Listen: "127.0.0.1:0"})
	for range 20 {
		nc := connect(t, s)
		put(t, nc, "k", "v")
		if _, err := nc.SubscribeSync("x.*"); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	s.Close()
	s.Close()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestBadListenAddressIsNamed(t *testing.T) {
	for _, listen := range []string{"4222", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:70000"} {
		if _, err := Start(Config{Listen: listen}); err == nil || !strings.Contains(err.Error(), listen) {
			t.Errorf("%s: got %v", listen, err)
		}
	}
}

func TestStartFailsWhenTheAddressIsTaken(t *testing.T) {
	s := start(t, Config{Listen: "127.0.0.1:0"})
	taken := strings.TrimPrefix(s.URL(), "nats://")
	if _, err := Start(Config{Listen: taken, Ready: 500 * time.Millisecond}); err == nil {
		t.Fatal("a second server took the address")
	}
}

func TestNoticesAreDebugLines(t *testing.T) {
	var out bytes.Buffer
	s := start(t, Config{Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))})
	s.Close()
	if out.Len() > 0 {
		t.Errorf("logged at info or above:\n%s", out.String())
	}
}
