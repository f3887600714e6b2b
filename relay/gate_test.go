package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/ratelimit"
	"github.com/wsnode/wsnode/test/natstest"
)

// refusals are what an address, and a token, may be refused in a test.
func refusals(count int) func(*Config) {
	return func(c *Config) {
		c.Limits.Rates.Refused, c.Limits.Rates.RefusedToken = ratelimit.Rate{Count: count, Per: time.Hour}, ratelimit.Rate{Count: count, Per: time.Hour}
	}
}

// outcomeOf opens a WebSocket and returns its close code, an HTTP status, or 0 if the
// client is in.
func outcomeOf(t *testing.T, n *testNode, name, token string) int {
	t.Helper()
	conn, response, err := dial(t, n.addr, "/"+name, token, nil)
	if err != nil {
		if response == nil {
			t.Fatal(err)
		}
		return response.StatusCode
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, _, err = conn.Read(ctx)
	if closed := (websocket.CloseError{}); errors.As(err, &closed) {
		return int(closed.Code)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

func TestStaleTabsDoNotLockOutTheOfficeTheySitIn(t *testing.T) {
	const may = 4
	w := newWorld(t)
	n := w.node("eu-central-1", "a", refusals(may))
	stale := func(i int) string {
		return w.token(authn.Subject{Tenant: "acme", App: "notes", License: license, TTL: -time.Hour, Extra: map[string]any{"tab": i}})
	}
	seen := w.token(authn.Subject{})
	open(t, n, "todo", seen)
	for i := range may {
		if got := outcomeOf(t, n, "todo", stale(i)); got != closecode.Token {
			t.Errorf("stale tab %d: %d", i, got)
		}
	}
	if got := outcomeOf(t, n, "todo", stale(may)); got != http.StatusTooManyRequests {
		t.Errorf("one stale tab too many: %d", got)
	}
	if got := outcomeOf(t, n, "todo", w.token(authn.Subject{Extra: map[string]any{"tab": "new"}})); got != 0 {
		t.Errorf("a good token that is new: %d", got)
	}
	if status, _, _ := get(t, n, "/discovery?documentName=todo", w.token(authn.Subject{Extra: map[string]any{"tab": "newer"}})); status != http.StatusOK {
		t.Errorf("a discovery with a good token that is new: %d", status)
	}
	for i := range 20 * may {
		if got := outcomeOf(t, n, "todo", stale(may+1+i)); got != http.StatusTooManyRequests {
			t.Fatalf("stale tab %d: %d", i, got)
		}
	}
	if got := outcomeOf(t, n, "todo", w.token(authn.Subject{Extra: map[string]any{"tab": "late"}})); got != http.StatusTooManyRequests {
		t.Errorf("the budget of work is spent, and a token that is new got %d", got)
	}
	if got := outcomeOf(t, n, "todo", seen); got != 0 {
		t.Errorf("a good token that was there before: %d", got)
	}
}

func TestALimitOfThePlanIsNoAbuse(t *testing.T) {
	const may = 3
	w := newWorld(t)
	n := w.node("eu-central-1", "a", refusals(may))
	for i, c := range []struct {
		limits authn.Limits
		name   string
		code   int
	}{
		{authn.Limits{MaxConnections: 1}, "other", closecode.Connections},
		{authn.Limits{MaxDocuments: 1}, "other", closecode.Documents},
		{authn.Limits{MaxUsersPerDoc: 1}, "full", closecode.Users},
	} {
		token := w.token(authn.Subject{Tenant: "acme", App: docid.App(fmt.Sprint("app-", i)), License: license, Limits: c.limits})
		open(t, n, "full", token)
		for range may + 2 {
			if got := outcomeOf(t, n, c.name, token); got != c.code {
				t.Errorf("%+v: %d, want %d", c.limits, got, c.code)
			}
		}
	}
	if got := outcomeOf(t, n, "todo", "garbage"); got != closecode.Token {
		t.Errorf("the first real refusal of the address: %d", got)
	}
}

func TestATightLoopAtALimitOfThePlanIsAnsweredCheaply(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a", func(c *Config) { c.Limits.Rates.Admitted = ratelimit.Rate{Count: 3, Per: time.Hour} })
	token := w.token(authn.Subject{Limits: authn.Limits{MaxConnections: 1}})
	open(t, n, "full", token)
	for i, want := range []int{closecode.Connections, closecode.Connections, closecode.Connections, http.StatusTooManyRequests} {
		if got := outcomeOf(t, n, "other", token); got != want {
			t.Errorf("try %d: %d, want %d", i, got, want)
		}
	}
	if got := outcomeOf(t, n, "full", w.token(authn.Subject{Tenant: "others", App: "notes", License: license})); got != 0 {
		t.Errorf("another app at the address: %d", got)
	}
}

// lockedBuffer is a log that is read while the node writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestAProxyThatIsNotTrustedIsSaidOnce(t *testing.T) {
	w := newWorld(t)
	var log lockedBuffer
	n := w.node("eu-central-1", "a", func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	for range 3 {
		n.forwarded("192.0.2.1", "/health", "")
	}
	if got := n.figures().UnheededForwards; got != 3 {
		t.Errorf("%d requests are counted", got)
	}
	if got := strings.Count(log.String(), "--trusted-proxy"); got != 1 {
		t.Errorf("said %d times:\n%s", got, log.String())
	}
	trusting := w.node("eu-central-1", "b", trustLoopback)
	trusting.forwarded("192.0.2.1", "/health", "")
	if got := trusting.figures().UnheededForwards; got != 0 {
		t.Errorf("a trusted proxy is counted %d times", got)
	}
}

// slowIssuers serves key sets: of the tenant "slow" only once release is called.
func slowIssuers(t *testing.T, w *world) (url string, asked <-chan struct{}, release func()) {
	released, told := make(chan struct{}), make(chan struct{}, 1)
	release = sync.OnceFunc(func() { close(released) })
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/slow") {
			select {
			case told <- struct{}{}:
			default:
			}
			select {
			case <-released:
			case <-r.Context().Done():
			}
		}
		_, _ = rw.Write(w.issuer.JWKS())
	}))
	t.Cleanup(server.Close)
	t.Cleanup(release)
	return server.URL + "/{tenantId}", told, release
}

func TestWhoWaitsForKeysTakesNoSlotAndIsBoundedByAddress(t *testing.T) {
	w := newWorld(t)
	jwks, asked, release := slowIssuers(t, w)
	verifier, err := authn.New(authn.Config{JWKSURL: jwks, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(verifier.Close)
	n := w.node("eu-central-1", "a", trustLoopback, func(c *Config) { c.Verifier, c.Limits.Handshakes = verifier, 1 })
	n.gate.keys = ratelimit.NewCrowd[netip.Addr](1)

	slow := w.token(authn.Subject{Tenant: "slow", App: "notes", License: license})
	wait := func(address string) (int, error) {
		conn, _, err := dial(t, n.addr, "/todo", slow, http.Header{"X-Forwarded-For": {address}})
		if err != nil {
			return 0, err
		}
		defer func() { _ = conn.CloseNow() }()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, _, err = conn.Read(ctx)
		if closed := (websocket.CloseError{}); errors.As(err, &closed) {
			return int(closed.Code), nil
		}
		return 0, err
	}
	var waits sync.WaitGroup
	defer waits.Wait()
	waits.Go(func() {
		if code, err := wait("192.0.2.1"); code != 0 || err != nil {
			t.Errorf("the one that waited for keys: %d, %v", code, err)
		}
	})
	<-asked
	eventually(t, "it waits without a slot", func() bool { return len(n.gate.slots) == 0 })
	open(t, n, "todo", w.token(authn.Subject{Tenant: "quick", App: "notes", License: license}))
	if code, err := wait("192.0.2.1"); code != closecode.TryAgain {
		t.Errorf("one more of the address waits for keys: %d, %v", code, err)
	}
	waits.Go(func() {
		if code, err := wait("192.0.2.2"); code != 0 || err != nil {
			t.Errorf("another address: %d, %v", code, err)
		}
	})
	eventually(t, "another address waits, too", func() bool { return n.gate.keys.Len() == 2 })
	release()
}

func TestSessionsAboveTheirRatesWaitForATurnAndOthersDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rates := ratelimit.SessionRates{Messages: 1, MessageBurst: 1000}
		session := func(turns *ratelimit.Turns, messages int) *guard {
			q := &guard{budget: ratelimit.NewSessionBudget(rates, time.Now()), turns: turns}
			for range messages {
				q.Received(1)
			}
			return q
		}
		turns := ratelimit.NewTurns(2) // one
		fast, faster, calm := session(turns, 10), session(turns, 20), session(turns, 1)
		fast.Begin()
		in := false
		go func() {
			faster.Begin()
			in = true
			faster.End()
		}()
		synctest.Wait()
		calm.Begin() // at once, or synctest finds that all are waiting
		calm.End()
		if in {
			t.Error("two fast sessions have the same turn")
		}
		fast.End()
		if synctest.Wait(); !in {
			t.Error("a turn that was given back is not taken")
		}
	})
}

func TestAGateThatDoesNotOpenLeavesNothing(t *testing.T) {
	nc := natstest.Connect(t, natstest.Server(t))
	b, err := bus.New(nc, bus.Config{Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	nc.Close()
	there := goleak.IgnoreCurrent()
	if _, err := openGate(&Config{Bus: b}); err == nil {
		t.Fatal("it opens without its bus")
	}
	goleak.VerifyNone(t, there)
}
