package natsconn_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/test/wait"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Embedded servers leave these behind for a while.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*Server).lameDuckMode"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.3.func1"),
	)
}

// quick reconnects at once.
var quick = []nats.Option{nats.ReconnectWait(10 * time.Millisecond), nats.ReconnectJitter(0, 0)}

// patience is for machines that do much else.
const patience = 30 * time.Second

// connection opens a connection and waits until it is there.
func connection(t *testing.T, url string, options ...nats.Option) (c *natsconn.Conn, failures <-chan error) {
	t.Helper()
	failed := make(chan error, 1000)
	c, err := natsconn.Open(natsconn.Config{URL: url, Options: append(options, quick...), Failed: func(err error) {
		select {
		case failed <- err:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	wait.Until(t, "the first connection", func() bool { return c.NATS().IsConnected() })
	return c, failed
}

// rude is a server that answers pings and says what a test wants to hear.
func rude(t *testing.T) (url string, say chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	say = make(chan string)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c, say)
		}
	}()
	return "nats://" + l.Addr().String(), say
}

func serve(c net.Conn, say <-chan string) {
	defer c.Close()
	fmt.Fprintf(c, "INFO {\"max_payload\":1048576,\"headers\":true,\"proto\":1}\r\n")
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewReader(c); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			lines <- line
		}
	}()
	for {
		select {
		case line, open := <-lines:
			if !open {
				return
			}
			if strings.HasPrefix(line, "PING") {
				fmt.Fprintf(c, "PONG\r\n")
			}
		case words := <-say:
			fmt.Fprintf(c, "-ERR '%s'\r\n", words)
		}
	}
}

func TestAConnectionThatAServerEndsForGoodIsOpenedAnew(t *testing.T) {
	url, say := rude(t)
	c, _ := connection(t, url)
	for round := range 2 {
		before, incarnation := c.NATS(), c.Incarnation()
		say <- "Something That No Client Knows"
		wait.Until(t, "the end is told", func() bool { return c.Ended() != nil || c.NATS() != before })
		if err := c.Ended(); err != nil && (!errors.Is(err, natsconn.ErrEnded) || !strings.Contains(err.Error(), "Something That No Client Knows")) {
			t.Errorf("the end is told as %v", err)
		}
		wait.Until(t, "another connection", func() bool { return c.NATS() != before && c.NATS().IsConnected() && c.Ended() == nil })
		if !before.IsClosed() {
			t.Error("nats.go did not end the connection: nothing was tested")
		}
		if c.Incarnation() <= incarnation {
			t.Errorf("round %d: incarnation %d after %d", round, c.Incarnation(), incarnation)
		}
	}
}

func TestClosingIsNoEndThatIsMended(t *testing.T) {
	url, say := rude(t)
	c, _ := connection(t, url)
	say <- "Something That No Client Knows"
	c.Close() // while it is being opened anew
	if !c.NATS().IsClosed() {
		t.Error("open after Close")
	}
	c.Close()
}

func TestTheConnectionBeforeIsClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var d natsconn.Dialer
	defer d.Close()
	first, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write to the connection before: %v", err)
	}
}

func TestServersAreNamedWithoutTheirPasswords(t *testing.T) {
	for urls, expected := range map[string]string{
		"": "", "nats://ann:secret@a:1,token@b:2": " at a:1,b:2", "tls://a:1": " at a:1", "nats://a:p@ss@b:1": " at b:1",
	} {
		if got := natsconn.At(urls); got != expected {
			t.Errorf("%s: %q, expected %q", urls, got, expected)
		}
	}
}
