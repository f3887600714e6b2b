package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/test/natstest"
)

// asWsctl has the test binary be wsctl, so that its memory can be told from that of
// the servers in the test.
const asWsctl = "WSCTL_TEST_BE_WSCTL"

func TestMain(m *testing.M) {
	if os.Getenv(asWsctl) != "" {
		code := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		fmt.Fprintln(os.Stderr, peakMemory())
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// peakMemory is the most that this process had resident, in KiB; 0 where the kernel
// does not tell.
func peakMemory() (kib int64) {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			_, _ = fmt.Sscan(rest, &kib)
		}
	}
	return kib
}

const many = 100_000

// stopwatch notes when the second line, which is the first row, was written, and
// counts lines.
type stopwatch struct {
	start time.Time
	first time.Duration
	all   time.Duration // until the process had ended
	lines int
}

func (s *stopwatch) Write(p []byte) (int, error) {
	s.lines += bytes.Count(p, []byte("\n"))
	if s.first == 0 && s.lines > 1 {
		s.first = time.Since(s.start)
	}
	return len(p), nil
}

// list runs wsctl as a process of its own and returns when its rows came and how
// much memory it took at most, in bytes.
func list(t *testing.T, args ...string) (*stopwatch, int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asWsctl+"=1", "GOMAXPROCS=1")
	watch := &stopwatch{}
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = watch, &errs
	watch.start = time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("wsctl %q: %v %s", args, err, errs.String())
	}
	watch.all = time.Since(watch.start)
	kib, err := strconv.ParseInt(strings.TrimSpace(errs.String()), 10, 64)
	if err != nil {
		t.Fatalf("wsctl %q: %s", args, errs.String())
	}
	return watch, kib << 10
}

// listQuickly runs a listing and checks that it streams: rows come soon, and
// memory does not grow with them.
func listQuickly(t *testing.T, rows, mib int, args ...string) {
	t.Helper()
	nothing, least := list(t, "--help")
	toStart := nothing.all // on this machine, with all that it does otherwise
	watch, most := list(t, args...)
	t.Logf("%q: first row after %v, all after %v, %d MiB more than for nothing", args[:2], watch.first, watch.all, (most-least)>>20)
	if watch.lines < rows {
		t.Errorf("%d lines for %d rows", watch.lines, rows)
	}
	if watch.first-toStart > max(time.Second, (watch.all-toStart)/2) {
		t.Errorf("the first row came after %v, the last after %v; to start takes %v", watch.first, watch.all, toStart)
	}
	if (most-least)>>20 > int64(mib) {
		t.Errorf("it took %d MiB more than for nothing, expected at most %d", (most-least)>>20, mib)
	}
}

// crowd is a node with many sessions, which are made when somebody looks at them.
type crowd struct {
	control.Node // nil: nothing else is asked
	name         string
}

func (c crowd) Info() control.Info { return control.Info{Node: c.name, Region: "eu-central-1"} }

func (c crowd) Sessions(_ *control.Filter, after uint64, limit int) (p control.Page[control.Session]) {
	for p.Next = after; len(p.Rows) < limit && p.Next < many/2; {
		p.Next++
		p.Rows = append(p.Rows, control.Session{
			ID: p.Next, Document: control.Document{License: "aws-eu-west-1", Tenant: "acme", App: "notes", Name: fmt.Sprintf("document-%d", p.Next)},
			Remote: "192.0.2.1:1234", UserAgent: strings.Repeat("Mozilla/5.0 ", 10), Since: time.Now(),
		})
	}
	p.More = p.Next < many/2
	return p
}

func TestAHundredThousandSessionsAreListedAtOnce(t *testing.T) {
	i := natstest.Server(t)
	for _, name := range []string{"n1", "n2"} {
		s, err := control.Serve(natstest.Connect(t, i), crowd{name: name}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
	}
	for _, format := range []string{"table", "json"} {
		listQuickly(t, many, 24, "sessions", "list", "-o", format, "--nats-url", i.URL)
	}
}

func TestAHundredThousandPinsAreListedAtOnce(t *testing.T) {
	i := natstest.Server(t)
	fillRegistry(t, i, "aws-eu-west-1", many)
	for _, format := range []string{"wide", "json"} {
		// NATS sends up to 32 MiB ahead of what was read; the race detector and a
		// slow collector make several times that of it.
		listQuickly(t, many, 256, "pins", "list", "-o", format, "--nats-url", i.URL)
	}
}

// fillRegistry pins documents the way nodes do.
func fillRegistry(t *testing.T, i *natstest.Instance, license docid.LicenseRegion, pins int) {
	t.Helper()
	registry, err := kvpin.Open(t.Context(), kvpin.Config{
		Region: "eu-central-1", Node: "n1", URL: "wss://eu.example",
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: i.URL, Create: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = registry.Close(ctx)
	})
	lease, _, _ := registry.Lease(license)
	value, err := json.Marshal(map[string]any{
		"region": "eu-central-1", "epoch": "E1", "since": time.Now(), "holders": []kvpin.Holder{{Node: "n1", Lease: lease}},
	})
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(natstest.Connect(t, i), jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		t.Fatal(err)
	}
	for n := range pins {
		doc := docid.Document{License: license, Tenant: "acme", App: "notes", Name: fmt.Sprintf("document-%d", n)}
		if _, err := js.PublishAsync("$KV.wsnode-"+string(license)+"."+doc.PinKey(), value, jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		t.Fatal("the pins were not stored")
	}
}

func TestRowsAppearWhileOthersAreAwaited(t *testing.T) {
	r, w := io.Pipe()
	var printing sync.WaitGroup
	more := make(chan struct{})
	printing.Go(func() {
		c := &cli{out: w, output: "table"}
		columns := []column[string]{{"NAME", false, func(s string) string { return s }}}
		err := printRows(c, columns, func(yield func(string, error) bool) {
			yield("first", nil)
			<-more
			yield("second", nil)
		})
		w.CloseWithError(err)
	})
	read := func(until string) {
		t.Helper()
		var text strings.Builder
		for p := make([]byte, 64); !strings.Contains(text.String(), until); {
			n, err := r.Read(p)
			if err != nil {
				t.Fatalf("%q: %v", text.String(), err)
			}
			text.Write(p[:n])
		}
	}
	read("first\n") // although the listing goes on
	close(more)
	read("second\n")
	if _, err := io.ReadAll(r); err != nil {
		t.Error(err)
	}
	printing.Wait()
}
