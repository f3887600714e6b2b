package history_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
)

// fakeDomain is a JetStream whose replicas and leader say what a test wants: it
// answers below the API prefix of a domain that no server has.
const fakeDomain = "fake"

type apiRequest struct {
	Seq      uint64 `json:"seq"`
	Subjects string `json:"subjects_filter"`
	Offset   int    `json:"offset"`
}

// fake answers direct gets with replica, whose messages may have gaps in their
// chain, reads at the leader with leader, and lists of subjects with subjects.
type fake struct {
	info     func() string           // a stream's metadata and what follows its config in JSON; nil: always the same
	subjects func(offset int) string // the rest of a stream's state in JSON
	replica  func(r apiRequest, reply string, nc *nats.Conn)
	leader   func(r apiRequest) string // JSON; empty: no answer
}

func (f *fake) open(t *testing.T) *history.History {
	t.Helper()
	servers := natstest.Server(t)
	nc := natstest.Connect(t, servers)
	prefix := "$JS." + fakeDomain + ".API."
	if _, err := nc.Subscribe(prefix+">", func(m *nats.Msg) {
		var r apiRequest
		_ = json.Unmarshal(m.Data, &r)
		endpoint := strings.TrimPrefix(m.Subject, prefix)
		switch {
		case r.Subjects != "":
			_ = m.Respond([]byte(f.subjects(r.Offset)))
		case strings.HasPrefix(endpoint, "STREAM.INFO."):
			info := `"wsnode.shards":"1"}},"created":"2026-01-01T00:00:00Z"`
			if f.info != nil {
				info = f.info()
			}
			_ = m.Respond([]byte(`{"type":"io.nats.jetstream.api.v1.stream_info_response","config":{"name":"wsnode-history-0","subjects":["wsn.u.0.>"],"retention":"limits","allow_direct":true,"metadata":{` + info + `}`))
		case strings.HasPrefix(endpoint, "DIRECT.GET."):
			f.replica(r, m.Reply, nc)
		case strings.HasPrefix(endpoint, "STREAM.MSG.GET."):
			if answer := f.leader(r); answer != "" {
				_ = m.Respond([]byte(answer))
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return open(t, servers, history.Config{Domain: fakeDomain})
}

// send sends one message of a page.
func send(nc *nats.Conn, reply string, seq, previous uint64) {
	_ = nc.PublishMsg(&nats.Msg{Subject: reply, Data: fmt.Append(nil, "m", seq), Header: nats.Header{
		"Nats-Sequence": {fmt.Sprint(seq)}, "Nats-Last-Sequence": {fmt.Sprint(previous)},
	}})
}

// status ends a page.
func status(nc *nats.Conn, reply, code string, pending, last uint64) {
	_ = nc.PublishMsg(&nats.Msg{Subject: reply, Header: nats.Header{
		"Status": {code}, "Nats-Num-Pending": {fmt.Sprint(pending)}, "Nats-Last-Sequence": {fmt.Sprint(last)},
	}})
}

// page sends the messages from a sequence up to another, as a replica that knows
// no more.
func page(nc *nats.Conn, reply string, from, to uint64) {
	if from > to {
		status(nc, reply, "404", 0, 0)
		return
	}
	previous := uint64(0)
	for seq := from; seq <= to; seq++ {
		send(nc, reply, seq, previous)
		previous = seq
	}
	status(nc, reply, "204", 0, to)
}

const noMessage = `{"error":{"code":404,"err_code":10037,"description":"no message found"}}`

// leaderWith is a leader that has the sequences up to last.
func leaderWith(last uint64) func(apiRequest) string {
	return func(r apiRequest) string {
		if r.Seq > last {
			return noMessage
		}
		data, _ := json.Marshal(fmt.Append(nil, "m", r.Seq))
		return fmt.Sprintf(`{"message":{"subject":"x","seq":%d,"data":%s}}`, r.Seq, data)
	}
}

func expectLoaded(t *testing.T, h *history.History, n int) {
	t.Helper()
	got, last := load(t, h, subject("d"))
	for i := range n {
		if len(got) != n || got[i] != fmt.Sprint("m", i+1) {
			t.Fatalf("loaded %v, expected m1 to m%d", got, n)
		}
	}
	if last != uint64(n) {
		t.Errorf("last is %d, expected %d", last, n)
	}
}

func TestReplicaThatIsBehindIsReadOnUntilTheLeaderKnowsNoMore(t *testing.T) {
	known := uint64(3)
	f := &fake{
		replica: func(r apiRequest, reply string, nc *nats.Conn) {
			page(nc, reply, r.Seq, known)
			known = min(known+2, 20)
		},
		leader: leaderWith(20),
	}
	expectLoaded(t, f.open(t), 20)
}

func TestReplicaThatStaysBehindIsMadeUpForByTheLeader(t *testing.T) {
	f := &fake{
		replica: func(r apiRequest, reply string, nc *nats.Conn) { page(nc, reply, r.Seq, 3) },
		leader:  leaderWith(8),
	}
	expectLoaded(t, f.open(t), 8)
}

func TestMessageLostInAPageIsAskedForAgain(t *testing.T) {
	for name, first := range map[string]func(reply string, nc *nats.Conn){
		"in the middle": func(reply string, nc *nats.Conn) {
			send(nc, reply, 1, 0)
			send(nc, reply, 3, 2)
			status(nc, reply, "204", 0, 3)
		},
		"at the beginning": func(reply string, nc *nats.Conn) {
			send(nc, reply, 2, 1)
			status(nc, reply, "204", 0, 2)
		},
		"at the end": func(reply string, nc *nats.Conn) {
			send(nc, reply, 1, 0)
			status(nc, reply, "204", 0, 2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			f := &fake{
				replica: func(r apiRequest, reply string, nc *nats.Conn) {
					if asked++; asked == 1 {
						first(reply, nc)
						return
					}
					page(nc, reply, r.Seq, 5)
				},
				leader: leaderWith(5),
			}
			expectLoaded(t, f.open(t), 5)
			if asked < 2 {
				t.Error("the page was asked for once")
			}
		})
	}
}

func TestLeaderlessStreamIsAskedAgainUntilItHasALeader(t *testing.T) {
	asked := 0
	f := &fake{
		replica: func(r apiRequest, reply string, nc *nats.Conn) { page(nc, reply, r.Seq, 2) },
		leader: func(r apiRequest) string {
			if asked++; asked < 5 {
				return `{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`
			}
			return leaderWith(2)(r)
		},
	}
	h := f.open(t)
	expectLoaded(t, h, 2)
	f.leader = func(apiRequest) string { return "" }
	began := time.Now()
	if _, err := h.LoadFrom(within(t, 200*time.Millisecond), subject("d"), 1, func(uint64, []byte) error { return nil }); !errors.Is(err, history.ErrUnavailable) {
		t.Errorf("a silent leader: %v", err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestStrangeAnswerOfAReplicaIsAnError(t *testing.T) {
	f := &fake{
		replica: func(_ apiRequest, reply string, nc *nats.Conn) { status(nc, reply, "408", 0, 0) },
		leader:  leaderWith(0),
	}
	var refused *history.RefusedError
	if _, err := f.open(t).LoadFrom(within(t, time.Minute), subject("d"), 1, nil); !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
}

func TestLongListsOfSubjectsComeInPages(t *testing.T) {
	var offsets []int
	f := &fake{subjects: func(offset int) string {
		offsets = append(offsets, offset)
		switch offset {
		case 0:
			return `{"total":5,"offset":0,"limit":2,"state":{"subjects":{"wsn.u.0.a":1,"wsn.u.0.b":2}}}`
		case 2:
			return `{"total":5,"offset":2,"limit":2,"state":{"subjects":{"wsn.u.0.c":3,"wsn.u.0.d":4}}}`
		case 4: // one of them has gone meanwhile
			return `{"total":4,"offset":4,"limit":2,"state":{}}`
		}
		return `{"error":{"code":400,"err_code":10003,"description":"bad request"}}`
	}}
	listed, err := list(t, f.open(t), "")
	if err != nil || len(listed) != 4 || listed["wsn.u.0.d"] != 4 || fmt.Sprint(offsets) != "[0 2 4]" {
		t.Errorf("listed %v from %v, %v", listed, offsets, err)
	}
	f.subjects = func(int) string { return `{"error":{"code":404,"err_code":10059,"description":"stream not found"}}` }
	if _, err := list(t, f.open(t), ""); !errors.Is(err, history.ErrStreamMissing) {
		t.Errorf("missing stream: %v", err)
	}
}
