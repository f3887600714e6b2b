//go:build !race

// Under the race detector long listings take minutes and show nothing that short ones
// do not: the test command runs these tests a second time without it.

package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/test/natstest"
)

// watch counts the lines of an output, and tells of the second one, which is the
// first row, or begins it.
type watch struct {
	lines int
	first chan struct{} // closed then
}

func (w *watch) Write(p []byte) (int, error) {
	before := w.lines
	w.lines += bytes.Count(p, []byte("\n"))
	if before < 2 && w.lines >= 2 {
		close(w.first)
	}
	return len(p), nil
}

// list runs wsctl as a process of its own, and returns how many lines it wrote and how
// much memory it took at most, in bytes. begun is called once there is a row.
func list(t *testing.T, begun func(), args ...string) (lines int, memory int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asWsctl+"=1", "GOMAXPROCS=1")
	out := &watch{first: make(chan struct{})}
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	select {
	case <-out.first:
		begun()
		err = <-ended
	case err = <-ended:
	}
	if err != nil {
		t.Fatalf("wsctl %q: %v, %d lines written, %s", args, err, out.lines, errs.String())
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(errs.String()), 10, 64)
	if err != nil {
		t.Fatalf("wsctl %q: %s", args, errs.String())
	}
	return out.lines, kib << 10
}

// listAsTheyCome runs a listing and checks that its first row is there while most of
// the others cannot be, and that memory does not grow with them.
func listAsTheyCome(t *testing.T, url string, mib int, args ...string) {
	t.Helper()
	way := natstest.NewProxy(t, url)
	_, least := list(t, func() {}, "--help")
	way.CutRepliesAfter(2 << 20)
	rows, most := list(t, way.Heal, append(args, "--nats-url", way.URL)...)
	t.Logf("%q: %d MiB more than for nothing", args, (most-least)>>20)
	if rows < many {
		t.Errorf("%d lines for %d rows", rows, many)
	}
	if (most-least)>>20 > int64(mib) {
		t.Errorf("it took %d MiB more than for nothing, expected at most %d", (most-least)>>20, mib)
	}
}

func TestManySessionsAreListedAsTheyCome(t *testing.T) {
	i := natstest.Server(t)
	for _, name := range []string{"n1", "n2"} {
		s, err := control.Serve(natstest.Connect(t, i), crowd{name: docid.NodeID(name)}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
	}
	for _, format := range []string{"table", "json"} {
		listAsTheyCome(t, i.URL, 16, "sessions", "list", "-o", format)
	}
}

func TestManyPinsAreListedAsTheyCome(t *testing.T) {
	i := natstest.Server(t)
	fillRegistry(t, i, "aws-eu-west-1", many)
	for _, format := range []string{"wide", "json"} {
		// NATS sends all of them ahead of what was read, which a slow collector doubles.
		listAsTheyCome(t, i.URL, 48, "pins", "list", "-o", format)
	}
}
