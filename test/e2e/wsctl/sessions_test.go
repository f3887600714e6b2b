package wsctl

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/wait"
)

type session struct {
	Session, Document, Remote, Node, UserAgent string
	FramesIn, BytesOut                         int
}

func (w *world) sessions(flags ...string) (list []session) {
	w.t.Helper()
	w.ctl(append([]string{"sessions", "list", "-o", "json"}, flags...)...).json(&list)
	return list
}

func TestSessionsAreListedWatchedAndEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	watch := w.watch("sessions", "watch", "--tenant", "acme", "--interval", "100ms", "-o", "json")
	ann := w.join(w.eu1, "todo", "milk")
	bob := w.join(w.eu2, "todo", "")
	far := w.join(w.us1, "far", "")
	watch.WaitLine(func(line string) bool {
		return strings.Contains(line, `"joined"`) && strings.Contains(line, "notes/far")
	})

	list := w.sessions()
	if len(list) != 3 {
		t.Fatalf("%+v", list)
	}
	for _, s := range list {
		if !strings.HasPrefix(s.Session, s.Node+"/") || !strings.HasPrefix(s.Remote, "127.0.0.1:") || s.FramesIn == 0 || s.BytesOut == 0 {
			t.Errorf("%+v", s)
		}
	}
	for flags, expected := range map[string]int{
		"--document acme/notes/todo": 2, "--document todo": 2, "--node us-1": 1, "--remote 127.0.0.1": 3, "--remote 192.0.2.1": 0,
		"--tenant other": 0, "--app notes": 3, "--license aws-us-east-1": 0, "--document far --node eu-1": 0,
	} {
		if got := w.sessions(strings.Fields(flags)...); len(got) != expected {
			t.Errorf("%s: %+v, expected %d", flags, got, expected)
		}
	}
	w.ctl("sessions", "list", "-o", "wide").must().says("USER AGENT", "eu-central-1")
	w.ctl("sessions", "list", "--node", "nobody").exits(3)

	w.ctl("sessions", "kick").exits(2)
	w.ctl("sessions", "kick", "eu-1/zzzz", "--yes").exits(3)
	w.ctl("sessions", "kick", "--document", "todo").exits(5).says("End 2 sessions", "--yes")
	w.ctl("sessions", "kick", "--document", "todo", "--code", "1000", "--yes").exits(2)
	w.ctl("sessions", "kick", "--document", "todo", "--code", "4000", "--permanent", "--yes").exits(2)
	at := slices.IndexFunc(list, func(s session) bool { return s.Node == "eu-1" })
	w.ctl("sessions", "kick", list[at].Session, "--code", "4321", "--reason", "out with you", "--yes").must().says("ended 1 session")
	if closed := ann.WaitClosed(4321); closed.Reason != "out with you" {
		t.Errorf("%+v", closed)
	}
	watch.WaitLine(func(line string) bool {
		return strings.Contains(line, `"left"`) && strings.Contains(line, `4321`)
	})
	ann.WaitSynced()
	w.ctl("sessions", "kick", "--document", "todo", "--permanent", "--yes").must().says("ended 2 sessions")
	ann.WaitClosed(4403)
	bob.WaitClosed(4403)
	wait.Until(t, "both stay away", func() bool { return len(w.sessions("--document", "todo")) == 0 })
	far.MustStay(time.Second)
	if got := len(w.sessions()); got != 1 {
		t.Errorf("%d sessions are left", got)
	}
}

func TestAClientsRefusalIsExplainedByTwoCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	watch := w.watch("refusals", "watch", "--interval", "100ms")
	watch.WaitLine(func(line string) bool { return strings.Contains(line, "REASON") })
	expired := w.mint("--ttl", "-1h")
	for range 3 {
		cluster.Shake(t, w.eu2.Addr, "/todo?token="+expired, nil)
	}
	readers := w.mint("--document", "other")
	cluster.Shake(t, w.us1.Addr, "/todo?token="+readers, nil)
	watch.WaitLine(func(line string) bool { return strings.Contains(line, "Forbidden: document") })

	type refusal struct {
		Document, Remote, Reason, Detail, Node string
		Code, Count                            int
	}
	var list []refusal
	w.ctl("refusals", "list", "--document", "todo", "-o", "json").json(&list)
	if len(list) != 2 || list[0].Code != 4002 || list[0].Count != 3 || list[0].Node != "eu-2" || list[0].Reason != "Invalid token: expired" ||
		list[1].Code != 4003 || list[1].Document != todo || list[1].Remote != "127.0.0.1" {
		t.Errorf("%+v", list)
	}
	w.ctl("refusals", "list", "--code", "4003").must().says("Forbidden: document", "us-1")
	w.ctl("refusals", "list", "--tenant", "acme", "--remote", "127.0.0.1", "-o", "wide").must().says("connect")

	w.ctl("trace", "todo", "--token", expired).exits(1).says("token", "4002", "expired")
	w.ctl("trace", "todo", "--token-file", w.write("readers.jwt", []byte(readers))).exits(1).says("4003 Forbidden: document")
	w.ctl("trace", "todo", "--token-file", "token.jwt").must().says("free", "admitted")
	w.ctl("trace", "a?b", "--token-file", "token.jwt").exits(1).says("4007")

	// What a client sends is no terminal's business, and no token is shown.
	w.ctl("trace", w.token).exits(2)
	w.ctl("token", "inspect", w.token+"x", "--jwks-url", w.jwks).exits(6).says("refused")
}

func TestATraceTakesTheWayOfAConnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join(w.eu2, "todo", "milk")
	w.ctl("trace", "acme/notes/todo").must().says("eu-1 in eu-central-1", "us-1 in us-east-1", "admitted", "4009 REDIRECT:ws://"+w.eu1.Addr+"/todo", "history", "room")
	type trace struct {
		Node  string
		Code  int
		Steps []struct {
			Name, Detail string
			OK           bool
		}
	}
	var traces []trace
	w.ctl("trace", "acme/notes/todo", "--all", "-o", "json").json(&traces)
	if len(traces) != 3 || traces[0].Code != 0 || traces[2].Code != 4009 {
		t.Errorf("%+v", traces)
	}
	w.ctl("trace", "acme/notes/new").exits(2).says("license region")
	w.ctl("trace", "aws-us-east-1/acme/notes/new", "--node", "us-1").must().says("would claim", "admitted")
	w.ctl("trace", "aws-us-west-2/acme/notes/new").exits(1).says("4003 Forbidden: license region")

	limited := w.mint("--max-connections", "1")
	wait.Until(t, "the limit shows", func() bool {
		r := w.ctl("trace", "todo", "--token", limited, "--node", "eu-1")
		return r.code == 1 && strings.Contains(r.out, "4004 Connection limit exceeded: 1")
	})
	if pins := w.ctl("pins", "-o", "json").must().out; strings.Contains(pins, "notes/new") {
		t.Errorf("a trace pinned something: %s", pins)
	}
}
