package contract

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// row 4004, 4005, 4008.
func TestPlanLimitsAreNamedWithTheirCounts(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys)
	plan := func(app, limit string, most int) string {
		return keys.Token(issuer.Claims{"appId": app, "limits": issuer.Claims{limit: most}})
	}

	token := plan("connections", "maxConnections", 2)
	first := join(t, n, token, "a")
	join(t, n, token, "b")
	mustRefuse(t, n, "app-wide connections", token, "a", 4004, "Connection limit exceeded: 2")
	join(t, n, plan("connections", "maxConnections", 3), "c") // by its own token
	mustRefuse(t, n, "app-wide connections of the smaller plan", token, "a", 4004, "Connection limit exceeded: 2")
	first.leave()
	mustRefuse(t, n, "as many as before", token, "a", 4004, "Connection limit exceeded: 2")

	token = plan("documents", "maxDocuments", 2)
	join(t, n, token, "a")
	b := join(t, n, token, "b")
	mustRefuse(t, n, "app-wide documents", token, "c", 4005, "Document limit exceeded: 2 (active: 2)")
	second := join(t, n, token, "b") // it is open
	mustRefuse(t, n, "app-wide documents of a smaller plan", plan("documents", "maxDocuments", 1), "c", 4005, "Document limit exceeded: 1 (active: 2)")
	second.leave()
	b.leave()
	rejoin(t, n, token, "c")

	token = plan("users", "maxUsersPerDoc", 2)
	join(t, n, token, "a")
	user := join(t, n, token, "a")
	mustRefuse(t, n, "users in this document", token, "a", 4008, "Document user limit exceeded: 2")
	join(t, n, token, "b")
	user.leave()
	rejoin(t, n, token, "a")
}

// rejoin connects where a place has just been given back: the node may hear of
// that a moment later than the client that left.
func rejoin(t *testing.T, n *cluster.Node, token, document string) {
	t.Helper()
	target, header := subprotocol("access_token")(token, document)
	deadline := time.Now().Add(patience)
	for {
		h := cluster.Shake(t, n.Addr, target, header)
		if h.Code == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the place was not given back: %d %q", h.Code, h.Reason)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// row 4006.
func TestTheOperationThatCrossesTheLimitIsAppliedAndEndsTheSession(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys)
	token := func(more issuer.Claims) string { return keys.Token(more) }
	limits := issuer.Claims{"limits": issuer.Claims{"opsPerMinute": 3}}
	other := join(t, n, token(nil), "doc") // of the same app, without a limit: it does not count
	other.say(syncUpdate, insert(9, 0, "uncounted"))
	other.mustHold("before", "uncounted", true)
	c := join(t, n, token(limits), "doc")
	c.say(syncUpdate, insert(1, 0, "one"))
	c.say(syncStep2, insert(1, 3, "two"))
	for range 5 {
		c.say(syncUpdate, insert(1, 0, "one")) // brings nothing new
	}
	c.say(syncUpdate, insert(1, 6, "three"))
	c.mustHold("three operations", "three", true)
	c.say(syncUpdate, insert(1, 11, "four"))
	c.mustBeClosed("the fourth operation", 4006, "Rate limit exceeded: 3 ops/min")
	other.mustHold("the operation that crossed the limit", "four", true)
	again := join(t, n, token(limits), "doc")
	again.say(syncUpdate, insert(2, 0, "five"))
	again.mustBeClosed("a session within the same minute", 4006, "Rate limit exceeded: 3 ops/min")
}

// section 8: the ceilings of the operator.
func TestCeilingsHoldWhateverATokenSays(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys, "--max-app-connections", "3", "--max-app-documents", "2", "--max-document-users", "2", "--max-app-ops-per-minute", "2")
	without := keys.Token(nil)
	more := keys.Token(issuer.Claims{"limits": issuer.Claims{"maxConnections": 100, "maxDocuments": 100, "maxUsersPerDoc": 100, "opsPerMinute": 100}})
	less := keys.Token(issuer.Claims{"limits": issuer.Claims{"maxConnections": 1, "maxUsersPerDoc": 1}})
	join(t, n, without, "a")
	c := join(t, n, more, "a")
	mustRefuse(t, n, "users", without, "a", 4008, "Document user limit exceeded: 2")
	mustRefuse(t, n, "users, whatever a token says", more, "a", 4008, "Document user limit exceeded: 2")
	mustRefuse(t, n, "of two limits the smaller", less, "b", 4004, "Connection limit exceeded: 1")
	last := join(t, n, without, "b")
	mustRefuse(t, n, "connections", without, "b", 4004, "Connection limit exceeded: 3")
	mustRefuse(t, n, "connections, whatever a token says", more, "b", 4004, "Connection limit exceeded: 3")
	c.leave()
	deadline := time.Now().Add(patience)
	target, header := subprotocol("access_token")(more, "c")
	for {
		h := cluster.Shake(t, n.Addr, target, header)
		if h.Code == 4005 && h.Reason == "Document limit exceeded: 2 (active: 2)" {
			break
		}
		if h.Code != 4004 || time.Now().After(deadline) {
			t.Fatalf("documents, whatever a token says: %d %q", h.Code, h.Reason)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for i := range 3 {
		last.say(syncUpdate, insert(1, uint64(i), "x"))
	}
	last.mustBeClosed("operations", 4006, "Rate limit exceeded: 2 ops/min")
}

// rows 1003, 1007, 1009.
func TestWhatAClientMayNotSendIsNamed(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys, "--max-message-bytes", "4096", "--max-document-bytes", "16384",
		"--max-update-delete-ranges", "3", "--max-document-clients", "20", "--max-pending-structs", "3")
	token := keys.Token(nil)
	binaryFrame := func(kind, payload []byte) func(*client) { return func(c *client) { c.say(kind, payload) } }
	raw := func(bytes ...byte) func(*client) {
		return func(c *client) { c.send(websocket.MessageBinary, bytes) }
	}
	ranges := append([]byte{0, 1, 1}, 4) // no structs; of one client four deletions
	for i := range byte(4) {
		ranges = append(ranges, 2*i, 1)
	}
	clients := []byte{21}
	for id := range byte(21) {
		clients = append(clients, 1, 100-id, 0, 4, 1, 1, 't', 1, 'x')
	}
	pending := []byte{4} // four structs that build on others
	for id := range byte(4) {
		pending = append(pending, 1, 100-id, 5, 0x84, 100-id, 4, 1, 'x')
	}
	deep := "\x01\x02\x07\x00\x04\x01\x01t\x01a\x08\x01\x01x\x01" + strings.Repeat("u\x01", 300) + "~\x00"
	cases := []struct {
		what   string
		send   func(*client)
		code   int
		reason string
	}{
		{"value nested too deeply", binaryFrame(syncUpdate, []byte(deep)), 4415, "Unsupported content: a value nested too deeply. Remove it and reload; what did not need it was saved"},
		{"Hocuspocus without a token", raw([]byte("\x03doc\x00\x00\x01\x00")...), 4415, "Unsupported protocol: Hocuspocus without a token in its first message: docs/clients.md"},
		{"text frame", func(c *client) { c.send(websocket.MessageText, []byte("hello")) }, 1003, "Text frames are not supported"},
		{"empty text frame", func(c *client) { c.send(websocket.MessageText, nil) }, 1003, "Text frames are not supported"},
		{"empty frame", raw(), 1007, "Malformed frame"},
		{"cut frame", raw(0, 2, 100, 1, 2), 1007, "Malformed frame"},
		{"number that does not end", raw(0xff, 0xff), 1007, "Malformed frame"},
		{"malformed awareness", binaryFrame(awareness, []byte{9, 9}), 1007, "Malformed frame"},
		{"malformed update", binaryFrame(syncUpdate, []byte{1, 1, 1}), 1007, "Malformed Yjs update: ends too early at byte 3"},
		{"malformed SyncStep2", binaryFrame(syncStep2, []byte("nonsense")), 1007, "Malformed Yjs update: right origin is not in the past at byte 4"},
		{"malformed state vector", binaryFrame(syncStep1, []byte{5, 1}), 1007, "Malformed Yjs update: ends too early at byte 2"},
		{"message over the limit", binaryFrame(syncUpdate, insert(1, 0, strings.Repeat("x", 5000))), 1009, "Message too large: limit 4096 bytes"},
		{"awareness over the limit", binaryFrame(awareness, state(1, 1, `"`+strings.Repeat("x", 5000)+`"`)), 1009, "Message too large: limit 4096 bytes"},
		{"SyncStep2 over the limit", binaryFrame(syncStep2, insert(1, 0, strings.Repeat("x", 20000))), 1009, "Message too large: limit 16384 bytes"},
		{"document over the limit", func(c *client) {
			for i := range uint64(6) {
				c.say(syncUpdate, insert(1, i*3000, strings.Repeat("x", 3000)))
			}
		}, 1009, "Document too large: limit 16384 bytes"},
		{"delete ranges", binaryFrame(syncUpdate, ranges), 1009, "Update over the limit: too many delete ranges"},
		{"client ids", binaryFrame(syncUpdate, append(clients, 0)), 1009, "Update over the limit: too many client ids"},
		{"pending structs", binaryFrame(syncUpdate, append(pending, 0)), 1009, "Update over the limit: too many pending structs"},
	}
	// All at once: a session ends some seconds after what ends it.
	witnesses, senders := make([]*client, len(cases)), make([]*client, len(cases))
	for i, c := range cases {
		name := fmt.Sprint("doc", i)
		witnesses[i], senders[i] = join(t, n, token, name), join(t, n, token, name)
		c.send(senders[i])
	}
	for i, c := range cases {
		witness := witnesses[i]
		senders[i].mustBeClosed(c.what, c.code, c.reason)
		witness.say(syncUpdate, insert(77, 0, "well")) // nothing of it reached anybody, and the document lives
		witness.mustHold(c.what, "well", true)
		witness.leave()
	}
	c := join(t, n, token, "large")
	c.say(syncStep2, insert(1, 0, strings.Repeat("x", 10000))) // more than a message may have
	c.mustHold("a SyncStep2 may be as large as a document", strings.Repeat("x", 10000), true)
	c.send(websocket.MessageBinary, []byte{42, 1, 2, 3}) // unknown types are ignored
	c.mustHold("an unknown message", "x", true)
}

// row 1013, and the load shedding of section 8.
func TestAnOverloadedNodeTakesNoNewConnectionsUntilItIsBelow70Percent(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys, "--max-connections", "10")
	token := keys.Token(nil)
	health := func(status int, word string) {
		t.Helper()
		deadline := time.Now().Add(patience) // the end of a session is noticed a moment later
		for {
			a := cluster.Get(t, n.HTTP()+"/health", "")
			var body struct{ Status string }
			a.JSON(&body)
			retry := a.Header.Get("Retry-After") != ""
			if a.Status == status && body.Status == word && retry == (status == http.StatusServiceUnavailable) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("/health says %d %s, Retry-After %v; expected %d %s", a.Status, a.Body, retry, status, word)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	var clients []*client
	for range 8 {
		health(http.StatusOK, "healthy")
		clients = append(clients, join(t, n, token, "doc"))
	}
	health(http.StatusServiceUnavailable, "overloaded")
	mustRefuse(t, n, "at 80 %", token, "doc", 1013, "Try again later")
	clients[0].leave()
	mustRefuse(t, n, "at 70 %", token, "doc", 1013, "Try again later")
	health(http.StatusServiceUnavailable, "overloaded")
	clients[1].leave()
	health(http.StatusOK, "healthy")
	clients[2].mustHold("live sessions stay", "nothing", false)
	join(t, n, token, "doc")
}

// row 1013: the issuer cannot be asked.
func TestAnIssuerThatCannotBeAskedIsAPassingTrouble(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	front := http.NewServeMux() // the tenant acme has an issuer, others have none that answers
	front.HandleFunc("/acme", func(w http.ResponseWriter, r *http.Request) {
		answer := cluster.Get(t, keys.JWKS, "")
		_, _ = w.Write(answer.Body)
	})
	front.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	server := httptest.NewServer(front)
	defer server.Close()
	n := cluster.Serve{Region: "eu-central-1", JWKS: server.URL + "/{tenantId}", Flags: append([]string{"--admin-listen", "off"}, anyRate...)}.StartHealthy(t)
	row{"the tenant whose issuer answers", keys.Token(nil), 0, ""}.check(t, n)
	other := keys.Token(issuer.Claims{"tenantId": "other"})
	mustRefuse(t, n, "the tenant whose issuer does not", other, "doc", 1013, "Try again later")
	for _, path := range []string{"/discovery?documentName=doc", "/usage"} {
		a := cluster.Get(t, n.HTTP()+path, other)
		mustBeError(t, path, a, http.StatusServiceUnavailable, "unavailable")
		if a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}
	nowhere := cluster.Serve{Region: "eu-central-1", JWKS: gone.URL, Flags: []string{"--admin-listen", "off"}}.StartHealthy(t)
	mustRefuse(t, nowhere, "no issuer at all", keys.Token(nil), "doc", 1013, "Try again later")
}

// row 1012.
func TestADrainingNodeEndsItsSessionsAndItself(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys, "--drain-delay", "4s", "--drain-spread", "4s")
	token := keys.Token(nil)
	early := join(t, n, token, "doc")
	n.Interrupt()
	for a := cluster.Get(t, n.HTTP()+"/health", ""); ; a = cluster.Get(t, n.HTTP()+"/health", "") {
		var body struct{ Status string }
		if a.JSON(&body); a.Status == http.StatusServiceUnavailable && body.Status == "degraded" {
			break
		}
	}
	late := join(t, n, token, "doc") // it serves until balancers have noticed
	early.mustBeClosed("the first", 1012, "Service restart")
	mustRefuse(t, n, "a newcomer", token, "doc", 1012, "Service restart")
	late.mustBeClosed("the last", 1012, "Service restart")
	if code := n.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// section 6, read-only sessions.
func TestAReadOnlySessionReceivesEverythingAndChangesNothing(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys)
	writer := join(t, n, keys.Token(nil), "doc")
	reader := join(t, n, keys.Token(issuer.Claims{"access": "readonly"}), "doc")
	writer.say(syncUpdate, insert(1, 0, "written"))
	if got := reader.await(syncUpdate); !bytes.Contains(got, []byte("written")) {
		t.Errorf("the reader received % x", got)
	}
	reader.say(syncStep2, insert(1, 0, "written")) // nothing new: ignored silently
	reader.say(awareness, state(7, 1, `{"name":"reader"}`))
	if got := writer.await(awareness); !bytes.Contains(got, []byte("reader")) {
		t.Errorf("the writer received % x", got)
	}
	ctx := t.Context()
	for _, kind := range [][]byte{syncUpdate, syncStep2} {
		reader.say(kind, insert(2, 0, "forbidden"))
		for {
			_, got, err := reader.ws.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.HasPrefix(got, denied) {
				reason := got[len(denied):]
				if length, n := binary.Uvarint(reason); string(reason[n:]) != "read-only" || int(length) != len("read-only") {
					t.Errorf("denied by % x", got)
				}
				break
			}
			if !bytes.HasPrefix(got, awareness) {
				t.Fatalf("before it is denied the reader received % x", got)
			}
		}
	}
	writer.mustHold("an edit of the reader", "forbidden", false)
	reader.mustHold("reading on", "written", true)
}
