package contract

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// patience is how long a client waits for what must come, on a busy machine.
const patience = 2 * time.Minute

// anyRate are flags that turn the rates per address off: tests come from one.
var anyRate = []string{"--refused-per-minute", "0", "--admitted-per-minute", "0", "--usage-per-minute", "0", "--health-per-minute", "0"}

// startNode starts a node of a region of its own, at any rate.
func startNode(t *testing.T, keys *issuer.Issuer, flags ...string) *cluster.Node {
	t.Helper()
	return cluster.Serve{
		Region: "eu-central-1", JWKS: keys.JWKS, Flags: append(append([]string{"--admin-listen", "off"}, anyRate...), flags...),
	}.StartHealthy(t)
}

// claims are those of a good token but for some. A time.Duration stands for that
// time from now.
func claims(changes issuer.Claims) issuer.Claims {
	all := issuer.Valid(changes)
	for name, value := range all {
		if offset, ok := value.(time.Duration); ok {
			all[name] = time.Now().Add(offset).Unix()
		}
	}
	return all
}

// client is a WebSocket client that knows bytes only.
type client struct {
	t  *testing.T
	ws *websocket.Conn
}

// join connects a client that must be admitted: the server speaks first.
func join(t *testing.T, n *cluster.Node, token, document string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, n.WS()+"/"+document, &websocket.DialOptions{Subprotocols: []string{"access_token", token}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	ws.SetReadLimit(-1)
	c := &client{t, ws}
	c.await(syncStep1)
	return c
}

// How messages begin (y-protocols).
var (
	syncStep1  = []byte{0, 0}
	syncStep2  = []byte{0, 1}
	syncUpdate = []byte{0, 2}
	awareness  = []byte{1}
	denied     = []byte{2, 0}
)

func (c *client) send(kind websocket.MessageType, message []byte) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := c.ws.Write(ctx, kind, message); err != nil {
		c.t.Fatal(err)
	}
}

// say sends a message with a payload.
func (c *client) say(kind, payload []byte) {
	c.t.Helper()
	c.send(websocket.MessageBinary, message(kind, payload))
}

func message(kind, payload []byte) []byte {
	return append(binary.AppendUvarint(bytes.Clone(kind), uint64(len(payload))), payload...)
}

// await reads until a message that begins so, and returns what follows.
func (c *client) await(kind []byte) []byte {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		_, got, err := c.ws.Read(ctx)
		if err != nil {
			c.t.Fatalf("waiting for a message that begins % x: %v", kind, err)
		}
		if rest, ok := bytes.CutPrefix(got, kind); ok {
			return rest
		}
	}
}

// closed reads until the server closes the connection.
func (c *client) closed() (code int, reason string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		_, _, err := c.ws.Read(ctx)
		var end websocket.CloseError
		if errors.As(err, &end) {
			return int(end.Code), end.Reason
		}
		if err != nil {
			c.t.Fatalf("no close frame: %v", err)
		}
	}
}

// leave ends the client and waits until the server has noticed.
func (c *client) leave() { _ = c.ws.Close(websocket.StatusNormalClosure, "") }

// mustBeClosed checks how the server ends the connection.
func (c *client) mustBeClosed(what string, code int, reason string) {
	c.t.Helper()
	if gotCode, gotReason := c.closed(); gotCode != code || gotReason != reason {
		c.t.Errorf("%s: %d %q, expected %d %q", what, gotCode, gotReason, code, reason)
	}
}

// mustHold asks for the whole document and checks whether a text is in it.
func (c *client) mustHold(what, text string, holds bool) {
	c.t.Helper()
	c.say(syncStep1, []byte{0})
	if state := c.await(syncStep2); strings.Contains(string(state), text) != holds {
		c.t.Errorf("%s: the document holds %q: %v, expected %v", what, text, !holds, holds)
	}
}

// mustRefuse makes a handshake that must be closed so.
func mustRefuse(t *testing.T, n *cluster.Node, what, token, document string, code int, reason string) {
	t.Helper()
	target, header := subprotocol("access_token")(token, document)
	if h := cluster.Shake(t, n.Addr, target, header); h.Code != code || h.Reason != reason {
		t.Errorf("%s: %d %q, expected %d %q", what, h.Code, h.Reason, code, reason)
	}
}

// insert is a Yjs update by which a client appends a text to its own.
func insert(id, clock uint64, text string) []byte {
	u := binary.AppendUvarint([]byte{1, 1}, id) // one client, one struct
	u = binary.AppendUvarint(u, clock)
	if clock == 0 {
		u = append(u, 4, 1, 1, 't') // a string in the root type "t"
	} else {
		u = binary.AppendUvarint(append(u, 0x84), id) // a string behind what came before
		u = binary.AppendUvarint(u, clock-1)
	}
	u = append(binary.AppendUvarint(u, uint64(len(text))), text...)
	return append(u, 0) // nothing deleted
}

// state is an awareness update of one client.
func state(id, clock uint64, json string) []byte {
	u := binary.AppendUvarint([]byte{1}, id)
	u = binary.AppendUvarint(u, clock)
	return append(binary.AppendUvarint(u, uint64(len(json))), json...)
}
