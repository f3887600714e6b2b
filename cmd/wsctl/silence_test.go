package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/test/natstest"
)

// ctl runs wsctl inside the test, pointed at one NATS.
func ctl(t *testing.T, url string, args ...string) (code int, said string) {
	t.Helper()
	var out bytes.Buffer
	code = run(t.Context(), append(args, "--nats-url", url), strings.NewReader(""), &out, &out)
	return code, out.String()
}

// serve answers operators for a node until the test ends.
func serve(t *testing.T, i *natstest.Instance, n control.Node) *control.Server {
	t.Helper()
	s, err := control.Serve(natstest.Connect(t, i), n, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// drainer is a node that may do something when it is drained, and then whenever it
// is asked how it is.
type drainer struct {
	crowd
	drain, asked func()
	drained      atomic.Bool
}

func (d *drainer) StartDrain(time.Duration, time.Duration) {
	d.drained.Store(true)
	if d.drain != nil {
		d.drain()
	}
}

func (d *drainer) Info() control.Info {
	if d.drained.Load() && d.asked != nil {
		d.asked()
	}
	return d.crowd.Info()
}

func TestANodeThatIsSilentIsNotDrained(t *testing.T) {
	i := natstest.Server(t)
	ended := make(chan struct{})
	serve(t, i, &drainer{crowd: crowd{name: "n1"}, asked: func() { <-ended }})
	t.Cleanup(func() { close(ended) })
	code, said := ctl(t, i.URL, "nodes", "drain", "n1", "--wait", "--yes", "--spread", "0s", "--patience", "1500ms", "--timeout", "1s")
	if code != exitFailed || !strings.Contains(said, "not drained") || !strings.Contains(said, "node n1") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

func TestANodeOnALostNATSIsNotDrained(t *testing.T) {
	i := natstest.Server(t)
	p := natstest.NewProxy(t, i.URL)
	serve(t, i, &drainer{crowd: crowd{name: "n1"}, asked: p.Refuse})
	code, said := ctl(t, p.URL, "nodes", "drain", "n1", "--wait", "--yes", "--spread", "0s", "--patience", "1500ms", "--timeout", "1s")
	if code != exitFailed || !strings.Contains(said, "not drained") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

func TestANodeThatWasStoppedIsDrained(t *testing.T) {
	i := natstest.Server(t)
	n := &drainer{crowd: crowd{name: "n1"}}
	s := serve(t, i, n)
	var stopping sync.WaitGroup
	n.drain = func() { stopping.Go(s.Close) }
	code, said := ctl(t, i.URL, "nodes", "drain", "n1", "--wait", "--yes", "--spread", "0s")
	if code != 0 || !strings.Contains(said, "drained") {
		t.Errorf("exit code %d: %s", code, said)
	}
	stopping.Wait()
}

// holder is a node that has every document open.
type holder struct{ crowd }

func (h holder) Stat(_ context.Context, d control.Document) (control.DocumentStat, error) {
	return control.DocumentStat{Node: h.name, DocumentRow: control.DocumentRow{Document: d}}, nil
}

func TestADocumentWhosePinIsNotKnownIsNotSaidToBeFree(t *testing.T) {
	i := natstest.Server(t)
	serve(t, i, holder{crowd{name: "n1"}})
	lost := natstest.NewProxy(t, i.URL)
	lost.Refuse()
	for format, unknown := range map[string]string{"table": "not all is known", "json": `"pin":null`} {
		code, said := ctl(t, i.URL, "docs", "get", "aws-eu-west-1/acme/notes/todo", "-o", format, "--registry", "aws-eu-west-1="+lost.URL, "--timeout", "1s")
		if code != 0 || strings.Contains(said, "free") || !strings.Contains(said, unknown) || !strings.Contains(said, "n1") {
			t.Errorf("exit code %d: %s", code, said)
		}
	}
}
