package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/token"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/test/natstest"
)

// kicked is a node whose session takes long to end.
type kicked struct {
	crowd
	ending chan struct{} // gets one for each kick
	ended  chan struct{} // until then kicks go on
}

func (k *kicked) Kick(r control.KickRequest) (control.KickAnswer, error) {
	if !r.DryRun {
		k.ending <- struct{}{}
		<-k.ended
	}
	return control.KickAnswer{Sessions: 1}, nil
}

// interrupted runs wsctl at a terminal where nobody types, until Ctrl-C after when.
func interrupted(t *testing.T, when func(*screen), args ...string) (code int) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	terminal, keys := io.Pipe()
	t.Cleanup(func() { keys.Close() })
	out, ended := &screen{grown: make(chan struct{}, 1)}, make(chan int, 1)
	go func() { ended <- run(ctx, args, terminal, out, out) }()
	when(out)
	interrupt()
	return <-ended
}

func TestCtrlCEndsAPromptAndNothingIsChanged(t *testing.T) {
	t.Setenv(token.Variable, "")
	i := natstest.Server(t)
	n := &kicked{crowd: crowd{name: "n1"}, ending: make(chan struct{}, 1)}
	serve(t, i, n)
	code := interrupted(t, func(s *screen) { s.wait(t, "[y/N]") }, "sessions", "kick", "--tenant", "acme", "--nats-url", i.URL)
	if code != exit.Declined || len(n.ending) != 0 {
		t.Errorf("exit code %d, %d kicks", code, len(n.ending))
	}
	if code := interrupted(t, func(*screen) {}, "token", "inspect"); code != exit.Failed {
		t.Errorf("exit code %d of a command that awaits its input", code)
	}
}

func TestAChangeThatWasInterruptedIsNoSuccess(t *testing.T) {
	i := natstest.Server(t)
	n := &kicked{crowd: crowd{name: "n1"}, ending: make(chan struct{}, 1), ended: make(chan struct{})}
	serve(t, i, n)
	t.Cleanup(func() { close(n.ended) })
	code := interrupted(t, func(*screen) { <-n.ending }, "sessions", "kick", "--tenant", "acme", "--yes", "--nats-url", i.URL)
	if code != exit.Failed {
		t.Errorf("exit code %d", code)
	}
}

func TestCtrlCIsHowAWatchEnds(t *testing.T) {
	i := natstest.Server(t)
	serve(t, i, holder{crowd{name: "n1"}})
	fillRegistry(t, i, "aws-eu-west-1", 1)
	for command, shows := range map[string]string{
		"pins watch":           "document-0",
		"docs list -w":         "acme/notes/todo",
		"top --interval 100ms": "acme/notes/todo",
		"refusals watch":       "REASON",
		"regions list -w":      "wss://eu.example",
	} {
		code := interrupted(t, func(s *screen) { s.wait(t, shows) }, append(strings.Fields(command), "--nats-url", i.URL)...)
		if code != 0 {
			t.Errorf("%s: exit code %d", command, code)
		}
		ctx, interrupt := context.WithCancel(t.Context())
		interrupt()
		var out strings.Builder
		if code := run(ctx, append(strings.Fields(command), "--nats-url", i.URL), strings.NewReader(""), &out, &out); code != 0 {
			t.Errorf("%s, which was still on its way: exit code %d: %s", command, code, out.String())
		}
	}
}
