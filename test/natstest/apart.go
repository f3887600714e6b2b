package natstest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// apartDir is set in a process that is to be a server, to where that keeps its files.
const apartDir = "WSNODE_TEST_NATS_APART"

// Apart is Server in a process of its own, and returns the URL: what a benchmark measures
// of its process then has nothing of the server. The package's TestMain must begin with
// ServeApart.
func Apart(t testing.TB) (url string) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), apartDir+"="+t.TempDir())
	c.Stderr = os.Stderr
	stop, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("the server apart: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server apart does not start: %v", err)
	}
	return strings.TrimSpace(line)
}

// ServeApart makes the process a server if it is one that Apart started, until that
// closes its standard input. It does not return then.
func ServeApart() {
	dir := os.Getenv(apartDir)
	if dir == "" {
		return
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true,
		JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: 8 << 30,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		fmt.Fprintln(os.Stderr, "the server takes no connections")
		os.Exit(1)
	}
	fmt.Println(s.ClientURL())
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	s.WaitForShutdown()
	os.Exit(0)
}
