// Package registry measures what clients wait for in the registry: claims,
// look-ups, discoveries and connects, on an empty bucket and on one that is full
// of live documents, and when a document that everybody left is unpinned. The
// tests are short; the task bench:registry measures more and writes the table.
package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

const license = "aws-eu-west-1"

// stack is one nats-server or three, a node, and two registries of this process: one of the
// node's region, which holds documents, and one of another, which asks.
type stack struct {
	tb          testing.TB
	node        *cluster.Node
	token       string
	here, there *kvpin.Registry
	serial      atomic.Int64
	live        int // documents that here holds
}

func newStack(tb testing.TB, keys *issuer.Issuer, servers, live int, flags ...string) *stack {
	tb.Helper()
	var urls []string
	for _, server := range cluster.StartNATSServers(tb, servers) {
		urls = append(urls, server.URL)
	}
	nats, replicas := strings.Join(urls, ","), strconv.Itoa(servers)
	s := &stack{tb: tb, token: keys.Token(nil)}
	s.node = cluster.Serve{
		Region: "eu-central-1", NATS: nats, JWKS: keys.JWKS,
		Flags: append(flags, "--replicas", replicas, "--history-replicas", replicas, "--admitted-per-minute", "0", "--max-app-claims-per-second", "0", "--log-level", "error"),
	}.StartHealthy(tb)
	s.here, s.there = s.registry(nats, "eu-central-1"), s.registry(nats, "us-east-1")
	s.fill(live)
	return s
}

func (s *stack) registry(nats string, region docid.Region) *kvpin.Registry {
	s.tb.Helper()
	r, err := kvpin.Open(s.tb.Context(), kvpin.Config{
		Region: region, Node: docid.NodeID("measure-" + region), URL: "wss://" + string(region) + ".example",
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: nats}}, // the node has made the bucket
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = r.Close(ctx) // what it holds dies with the server
	})
	return r
}

// fill has so many documents live.
func (s *stack) fill(live int) {
	s.tb.Helper()
	s.live = live
	if err := inParallel(live, func(i int) error {
		_, err := s.here.Hold(context.Background(), document(liveName(i)))
		return err
	}); err != nil {
		s.tb.Fatal(err)
	}
}

func liveName(i int) string { return fmt.Sprintf("live-%d", i) }

func document(name string) docid.Document {
	return docid.Document{License: license, Tenant: "acme", App: "notes", Name: name}
}

// fresh is the name of a document that nobody had before.
func (s *stack) fresh() string { return fmt.Sprintf("new-%d", s.serial.Add(1)) }

// inParallel runs op for 0 to n-1 with 32 callers and returns the first error.
func inParallel(n int, op func(i int) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && failed.Load() == nil; i = next.Add(1) - 1 {
				if err := op(int(i)); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	callers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// operations are what is measured. Each works on a document of its own, or on one
// that is live where the name says so and some are.
var operations = []struct {
	name string
	run  func(s *stack) error
}{
	{"claim of a new document", func(s *stack) error {
		_, err := s.here.Hold(context.Background(), document(s.fresh()))
		return err
	}},
	{"look-up of a document that nobody has", func(s *stack) error {
		_, _, err := s.there.Lookup(context.Background(), document(s.fresh()))
		return err
	}},
	{"look-up of a live document, from another region", func(s *stack) error {
		_, state, err := s.there.Lookup(context.Background(), document(s.anyLive()))
		if err == nil && state != kvpin.Live {
			err = fmt.Errorf("a live document is %s", state)
		}
		return err
	}},
	{"`GET /discovery` of a document that nobody has", func(s *stack) error { return s.discover(s.fresh()) }},
	{"`GET /discovery` of a live document", func(s *stack) error { return s.discover(s.anyLive()) }},
	{"connect to a new document, until synced", func(s *stack) error { return s.connect(s.fresh()) }},
}

// anyLive is the name of a live document, another one at each call.
func (s *stack) anyLive() string { return liveName(int(s.serial.Add(7919) % int64(s.live))) }

func (s *stack) discover(name string) error {
	request, err := http.NewRequest(http.MethodGet, s.node.HTTP()+"/discovery?documentName="+name, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("discovery: %s", response.Status)
	}
	return nil
}

func (s *stack) connect(name string) error {
	c, err := s.dial(name)
	if err == nil {
		err = c.CloseNow()
	}
	return err
}

// dial opens a document and waits until the node has answered with what it has.
func (s *stack) dial(name string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, s.node.WS()+"/"+name, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + s.token}},
	})
	if err != nil {
		return nil, err
	}
	if err = c.Write(ctx, websocket.MessageBinary, []byte{0, 0, 1, 0}); err != nil { // SyncStep1 of somebody who has nothing
		return nil, err
	}
	for {
		_, frame, err := c.Read(ctx)
		if err != nil {
			return nil, err
		}
		if m, err := wire.Decode(frame); err != nil {
			return nil, err
		} else if m.Kind == wire.Step2 {
			return c, nil
		}
	}
}
