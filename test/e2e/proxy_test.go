package e2e

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// balancer passes connections on to an address, as those of one client, as network load
// balancers do. It spells the header itself, so that nothing of the product judges itself.
func balancer(t *testing.T, to string, client [4]byte) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	header := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c")
	header = append(append(header, client[:]...), 10, 0, 0, 1)
	header = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(header, 54321), 443)
	pass := func(c net.Conn) {
		defer c.Close()
		node, err := net.Dial("tcp", to)
		if err != nil {
			return // the node has ended
		}
		defer node.Close()
		if _, err := node.Write(header); err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(node, c) // it ends with either connection
			node.Close()
		}()
		_, _ = io.Copy(c, node)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go pass(c)
		}
	}()
	return l.Addr().String()
}

func TestClientsComeByABalancerThatSpeaksThePROXYProtocol(t *testing.T) {
	t.Parallel()
	keys, listen := issuer.New(t), cluster.FreeAddress(t)
	p := cluster.RunWsnode(t, "serve", "--region", "eu-central-1", "--public-url", "ws://"+listen, "--listen", listen,
		"--standalone", "--single-region", "--jwks-url", keys.JWKS, "--admin-listen", "off", "--drain-spread", "0s",
		"--proxy-protocol", "--trusted-proxy", "127.0.0.1/32")
	node := cluster.Started(t, p, balancer(t, listen, [4]byte{192, 0, 2, 7}))
	clients, token := yjs.Start(t), keys.Token(nil)
	one := clients.Join(yjs.Options{URL: node.WS(), Document: "todo", Token: token})
	two := clients.Join(yjs.Options{URL: node.WS(), Document: "todo", Token: token})
	text := strings.Repeat("milk, ", 20_000) // more than sockets take at once
	one.Insert(0, text)
	two.WaitText(text)
	if answer, err := http.Get("http://" + listen + "/health"); err == nil {
		answer.Body.Close()
		t.Errorf("who does not come by the balancer is answered %s", answer.Status)
	}
	p.WaitLine(func(line string) bool {
		return strings.Contains(line, "does not begin with a header of PROXY protocol")
	})
	one.Destroy()
	p.WaitLine(func(line string) bool {
		return strings.Contains(line, "session ended") && strings.Contains(line, "remote=192.0.2.7")
	})
}
