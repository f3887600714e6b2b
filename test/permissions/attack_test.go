package permissions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/quota"
	"github.com/wsnode/wsnode/test/wait"
)

// The roots see all of their accounts. Only the tests have them.
const root = "root"

func rootOf(account string) string { return root + "-" + account + ":r" }

func withRoots(o *server.Options) {
	for _, a := range o.Accounts {
		o.Users = append(o.Users, &server.User{Username: root + "-" + a.Name, Password: "r", Account: a})
	}
}

// steered is a node that only counts what operators make it do.
type steered struct {
	control.Node // nothing else is asked
	changes      atomic.Int64
}

func (*steered) Info() control.Info {
	return control.Info{Node: "a", Region: "eu-central-1", Version: "v1.0.0"}
}
func (s *steered) StartDrain(time.Duration, time.Duration) { s.changes.Add(1) }
func (s *steered) Kick(control.KickRequest) (control.KickAnswer, error) {
	s.changes.Add(1)
	return control.KickAnswer{}, nil
}

// world is a region that holds registries too, with something to protect in each
// account.
type world struct {
	*shipped
	node     *steered
	registry jetstream.JetStream // with all rights
	history  jetstream.JetStream
}

const bucket = "$KV.wsnode-aws-eu-west-1."

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{shipped: ship(t, withRoots), node: new(steered)}
	w.setUp(t)
	var err error
	if w.registry, err = jetstream.New(w.connect(t, rootOf("REGISTRY"))); err != nil {
		t.Fatal(err)
	}
	if w.history, err = jetstream.New(w.connect(t, rootOf("HISTORY"))); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"lease.eu-central-1.static", "lease.us-east-1.static", "limit.acme.notes.app", "pin.acme.notes.todo", "sweep.ap-south-1"} {
		if _, err := w.registry.Publish(t.Context(), bucket+key, []byte("good")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.history.Publish(t.Context(), doc.UpdatesSubject(0, "e1"), []byte("good")); err != nil {
		t.Fatal(err)
	}
	served, err := control.Serve(w.connect(t, pod, nats.NoEcho()), w.node, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(served.Close)
	// A node of each region answers about usage.
	for _, user := range []string{registryPod, foreignPod} {
		nc := w.connect(t, user)
		x := quota.OpenNATSExchange(func(l docid.LicenseRegion) *nats.Conn { return nc })
		t.Cleanup(x.Close)
		if _, err := x.Answer(doc.AppID(), func() []byte { return []byte("wss://evil.example") }); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// state is all that somebody may not change, by name.
func (w *world) state(t *testing.T) map[string]string {
	t.Helper()
	state := map[string]string{}
	for account, js := range map[string]jetstream.JetStream{"REGISTRY": w.registry, "HISTORY": w.history} {
		lister := js.ListStreams(t.Context(), jetstream.WithStreamListSubject(">"))
		for info := range lister.Info() {
			config, err := json.Marshal(info.Config)
			if err != nil {
				t.Fatal(err)
			}
			state["stream "+account+" "+info.Config.Name] = fmt.Sprintf("%s, created %s, %d consumers", config, info.Created, info.State.Consumers)
			s, err := js.Stream(t.Context(), info.Config.Name)
			if err != nil {
				t.Fatal(err)
			}
			for seq := info.State.FirstSeq; seq <= info.State.LastSeq && seq > 0; seq++ {
				if m, err := s.GetMsg(t.Context(), seq); err == nil {
					state[m.Subject] += fmt.Sprintf("%q at %d;", m.Data, seq)
				}
			}
		}
		if err := lister.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return state
}

// changed is what differs between two states and is none of what may.
func changed(before, after map[string]string, may []string) (names []string) {
	all := maps.Clone(before)
	maps.Copy(all, after)
	for name := range all {
		if before[name] != after[name] && !slices.ContainsFunc(may, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			names = append(names, fmt.Sprintf("%s: %s, was %s", name, after[name], before[name]))
		}
	}
	slices.Sort(names)
	return names
}

// message is something to publish.
type message struct{ subject, reply, data, header, value string }

func (m message) publish(t *testing.T, nc *nats.Conn) {
	t.Helper()
	msg := &nats.Msg{Subject: m.subject, Reply: m.reply, Data: []byte(m.data)}
	if m.header != "" {
		msg.Header = nats.Header{m.header: {m.value}}
	}
	if err := nc.PublishMsg(msg); err != nil {
		t.Fatalf("%+v: %v", m, err)
	}
}

const evil = "wss://evil.example"

// targets are subjects that lead, in some account, to what must not be touched.
func targets() []string {
	var all []string
	for _, key := range []string{"region.eu-central-1", "region.us-east-1", "lease.eu-central-1.static", "lease.us-east-1.static", "limit.acme.notes.app", "pin.acme.notes.todo", "notice.a.x", "sweep.ap-south-1"} {
		all = append(all, bucket+key, "$JS.registry.API."+bucket+key)
	}
	for _, api := range apis {
		for _, verb := range []string{"STREAM.DELETE.", "STREAM.PURGE.", "STREAM.UPDATE.", "STREAM.CREATE."} {
			for _, stream := range streams {
				all = append(all, api+verb+stream)
			}
		}
	}
	return append(all, doc.UpdatesSubject(0, "e1"), doc.UpdatesSubject(0, "e2"), control.Subject(control.DrainVerb, "a"), control.Subject(control.KickVerb, "a"))
}

var (
	apis    = []string{"$JS.API.", "$JS.registry.API.", "$JS.history.API."}
	streams = []string{"KV_wsnode-aws-eu-west-1", "KV_wsnode-aws-us-east-1", history.StreamName(0)}
)

// requests are those of JetStream's API that change streams, or make it publish.
func requests() (all []message) {
	for _, api := range apis {
		for _, stream := range streams {
			subjects := `"$KV.` + strings.TrimPrefix(stream, "KV_") + `.>"`
			if stream == history.StreamName(0) {
				subjects = `"wsn.u.0.>"`
			}
			config := func(more string) string {
				return `{"name":"` + stream + `","subjects":[` + subjects + `],"storage":"file","num_replicas":1,"allow_direct":true` + more + `}`
			}
			for subject, data := range map[string]string{
				"STREAM.DELETE.":          "",
				"STREAM.PURGE.":           "",
				"STREAM.MSG.DELETE.":      `{"seq":1}`,
				"STREAM.SNAPSHOT.":        `{"deliver_subject":"` + bucket + `region.eu-central-1","chunk_size":1024}`,
				"STREAM.RESTORE.":         `{"config":` + config("") + `,"state":{}}`,
				"STREAM.LEADER.STEPDOWN.": "",
			} {
				all = append(all, message{subject: api + subject + stream, data: data})
			}
			for _, more := range []string{
				`,"republish":{"src":">","dest":"` + control.Subject(control.DrainVerb, "a") + `"}`,
				`,"republish":{"src":"` + bucket + `pin.>","dest":"$KV.wsnode-aws-us-east-1.region.>"}`,
				`,"subject_transform":{"src":"` + bucket + `pin.*.*.*","dest":"` + bucket + `region.eu-central-1"}`,
				`,"sources":[{"name":"` + history.StreamName(0) + `"}]`,
				`,"mirror":{"name":"KV_wsnode-aws-us-east-1"}`,
				`,"max_msgs":1`,
			} {
				all = append(all, message{subject: api + "STREAM.UPDATE." + stream, data: config(more)}, message{subject: api + "STREAM.CREATE." + stream, data: config(more)})
			}
			for _, target := range []string{control.Subject(control.DrainVerb, "a"), bucket + "region.eu-central-1", "$JS.API.STREAM.DELETE." + stream, doc.UpdatesSubject(0, "e1")} {
				consumer := `{"stream_name":"` + stream + `","config":{"durable_name":"x","deliver_subject":"` + target + `","ack_policy":"none"}}`
				all = append(all,
					message{subject: api + "CONSUMER.CREATE." + stream, data: strings.Replace(consumer, `"durable_name":"x",`, "", 1)},
					message{subject: api + "CONSUMER.CREATE." + stream + ".x", data: strings.Replace(consumer, "durable_name", "name", 1)},
					message{subject: api + "CONSUMER.DURABLE.CREATE." + stream + ".x", data: consumer},
					message{subject: api + "CONSUMER.MSG.NEXT." + stream + ".x", data: "1", reply: target},
				)
			}
		}
		all = append(all,
			message{subject: api + "STREAM.CREATE.taps", data: `{"name":"taps","subjects":["wsn.>"],"storage":"memory","num_replicas":1}`},
			message{subject: api + "STREAM.CREATE.copies", data: `{"name":"copies","mirror":{"name":"` + history.StreamName(0) + `"},"storage":"memory","num_replicas":1}`},
			message{subject: api + "STREAM.CREATE.copies", data: `{"name":"copies","sources":[{"name":"KV_wsnode-aws-eu-west-1"}],"republish":{"src":">","dest":"` + bucket + `region.eu-central-1"},"storage":"memory","num_replicas":1}`},
			message{subject: api + "ACCOUNT.PURGE.REGISTRY"}, message{subject: api + "META.LEADER.STEPDOWN"},
		)
	}
	return all
}

// role is a user, what it may change, and the requests that it may make.
type role struct {
	user     string
	may      []string // names of the state
	plant    message  // where it may leave bytes of its choice
	carriers []message
	fence    []message // requests whose answers come after those of all before
	skip     func(message) bool
}

var registryReads = []message{
	{subject: "$JS.registry.API.STREAM.MSG.GET." + streams[0], data: `{"last_by_subj":"` + bucket + `pin.acme.notes.evil"}`},
	{subject: "$JS.registry.API.DIRECT.GET." + streams[0], data: `{"last_by_subj":"` + bucket + `pin.acme.notes.evil"}`},
	// An empty request is all that some endpoints want.
	{subject: "$JS.registry.API.DIRECT.GET." + streams[0], data: `{"last_by_subj":"` + bucket + `pin.acme.notes.empty"}`},
	{subject: "$JS.registry.API.STREAM.INFO." + streams[0]},
}

func registryRole(user string, may ...string) role {
	plant := message{subject: "$JS.registry.API." + bucket + "pin.acme.notes.evil", data: evil}
	return role{
		user: user, may: append(may, bucket+"pin.", bucket+"limit.", bucket+"notice."), plant: plant,
		carriers: append([]message{plant, {subject: "wsn.usage.aws-eu-west-1." + doc.AppID().LimitKey("app")}}, registryReads...),
		fence:    registryReads,
	}
}

func roles() []role {
	looks := append([]message{{subject: "$SRV.PING"}, {subject: "$SRV.INFO.wsnode"}, {subject: "$SRV.STATS.wsnode"}, {subject: control.Subject(control.InfoVerb, "a")}, {subject: "$JS.registry.API.INFO"}, {subject: "$JS.registry.API.STREAM.NAMES"}}, registryReads...)
	historyReads := []message{
		{subject: "$JS.history.API.DIRECT.GET." + streams[2], data: `{"last_by_subj":"wsn.u.0.evil"}`},
		{subject: "$JS.history.API.STREAM.MSG.GET." + streams[2], data: `{"last_by_subj":"wsn.u.0.evil"}`},
		{subject: "$JS.history.API.DIRECT.GET." + streams[2], data: `{"last_by_subj":"wsn.u.0.empty"}`},
		{subject: "$JS.history.API.STREAM.INFO." + streams[2]},
	}
	plant := message{subject: "wsn.u.0.evil", data: evil}
	return []role{
		// A node writes and removes the content of its region's documents.
		{user: pod, may: []string{"wsn.u."}, plant: plant, carriers: append([]message{plant}, historyReads...), fence: historyReads},
		registryRole(registryPod, bucket+"lease.eu-central-1."),
		registryRole(foreignPod, bucket+"lease.us-east-1."),
		{
			user: operator, may: []string{bucket + "pin.", bucket + "region.", bucket + "notice."},
			plant:    message{subject: "$JS.registry.API." + bucket + "pin.acme.notes.evil", data: evil},
			carriers: looks, fence: registryReads,
		},
		{user: reader, carriers: looks, fence: registryReads},
		setupRole(setupHistory, "history", streams[2], "stream HISTORY KV_", "stream HISTORY taps"),
		setupRole(setupRegistry, "registry", streams[0], "stream REGISTRY wsnode-history-", "stream REGISTRY taps"),
	}
}

// setupRole creates streams of new names, and that is all. What their settings make
// them do then is not for permissions to limit.
func setupRole(user, domain, stream string, may ...string) role {
	looks := []message{{subject: "$JS." + domain + ".API.STREAM.INFO." + stream}}
	create := message{subject: "$JS." + domain + ".API.STREAM.CREATE." + stream, data: `{"name":"` + stream + `","storage":"memory","num_replicas":1}`}
	return role{
		user: user, may: may, carriers: append(looks, create), fence: append(looks, create),
		skip: func(m message) bool { return strings.HasSuffix(m.subject, "STREAM.CREATE.copies") },
	}
}

// attack does all that a role must not, as far as it is let.
func (r role) attack(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if p := r.plant; p.subject != "" {
		for subject, data := range map[string]string{p.subject: p.data, strings.TrimSuffix(p.subject, "evil") + "empty": "{}"} {
			if _, err := nc.Request(subject, []byte(data), time.Minute); err != nil {
				t.Fatalf("plant: %v", err)
			}
		}
	}
	for _, target := range targets() {
		message{subject: target, data: evil}.publish(t, nc)
		message{subject: target, data: "{}", reply: nc.NewInbox()}.publish(t, nc)
		message{subject: target, data: "{}", header: "Nats-Request-Info", value: `{"acc":"REGISTRY","svc":"REGISTRY"}`}.publish(t, nc)
		for _, c := range r.carriers {
			c.reply = target
			c.publish(t, nc)
			c.reply, c.header, c.value = nc.NewInbox(), "Nats-Trace-Dest", target
			c.publish(t, nc)
		}
		if p := r.plant; p.subject != "" {
			p.header, p.value = "Nats-Schedule-Target", target
			p.publish(t, nc)
		}
	}
	for _, m := range requests() {
		if r.skip != nil && r.skip(m) {
			continue
		}
		if m.reply == "" {
			m.reply = nc.NewInbox()
		}
		m.publish(t, nc)
	}
	for _, f := range r.fence {
		if _, err := nc.Request(f.subject, []byte(f.data), time.Minute); err != nil {
			t.Fatalf("fence %s: %v", f.subject, err)
		}
	}
}

func TestNobodyReachesBeyondTheirRole(t *testing.T) {
	for _, r := range roles() {
		t.Run(strings.Split(r.user, ":")[0], func(t *testing.T) {
			w := newWorld(t)
			before := w.state(t)
			nc := w.connect(t, r.user)
			r.attack(t, nc)
			after := w.state(t)
			// Requests of a kind are heard in their order: these two are the last.
			c := control.NewClient(w.connect(t, operator), time.Minute)
			_, err := c.Kick(t.Context(), "a", control.KickRequest{})
			if err = errors.Join(err, c.Drain(t.Context(), "a", 0, 0)); err != nil {
				t.Fatal(err)
			}
			for _, what := range changed(before, after, r.may) {
				t.Error(what)
			}
			if n := w.node.changes.Load(); r.user != operator && n != 2 {
				t.Errorf("the node was steered %d times more than by the operator", n-2)
			}
		})
	}
}

// The same attack from inside an account does change what is watched: so it is the
// walls that hold, and the test would see a hole. Servers from 2.15.3 on refuse replies
// below $JS. by themselves, so that one cannot be a request that deletes a stream.
func TestTheAttacksWorkWithoutTheWalls(t *testing.T) {
	w := newWorld(t)
	before := w.state(t)
	inside := w.connect(t, rootOf("REGISTRY"))
	plain := func(m message) message {
		m.subject = strings.Replace(strings.Replace(m.subject, "$JS.registry.API.$KV", "$KV", 1), "$JS.registry.API.", "$JS.API.", 1)
		return m
	}
	direct := plain(registryReads[1])
	for key, data := range map[string]string{"evil": evil, "empty": "{}"} {
		if _, err := inside.Request(bucket+"pin.acme.notes."+key, []byte(data), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	direct.reply = bucket + "region.eu-central-1"
	direct.publish(t, inside)
	if _, err := inside.Request(direct.subject, []byte(direct.data), time.Minute); err != nil {
		t.Fatal(err)
	}
	wait.For(t, "a reply changes a URL", func() error { // it is stored as any message, some time later
		if got := strings.Join(changed(before, w.state(t), nil), "\n"); !strings.Contains(got, bucket+"region.eu-central-1: ") {
			return errors.New(got)
		}
		return nil
	})
}

func TestNobodyHearsWhatIsNotForThem(t *testing.T) {
	s := ship(t)
	everywhere := []string{">", "*.>", "_INBOX.>", "_INBOX.*.>", "_R_.>", "$SYS.>", "$JS.>", "$JS.API.>"}
	inboxes := map[string]string{pod: "_INBOX.wsnode.>", registryPod: "_INBOX.registry-eu-central-1.>", foreignPod: "_INBOX.registry-us-east-1.>", operator: "_INBOX.operator.>", reader: "_INBOX.reader.>", setupHistory: "_INBOX.setup-history.>", setupRegistry: "_INBOX.setup-registry.>"}
	for user, own := range inboxes {
		denied := slices.Clone(everywhere)
		for _, other := range inboxes {
			if other != own {
				denied = append(denied, other)
			}
		}
		if user != pod {
			denied = append(denied, "wsn.u.>", "wsn.s.>", "wsn.p.>", "wsn.c.>", "$SRV.>")
		}
		errs := make(chan error, len(denied))
		nc := s.connect(t, user, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))
		for _, subject := range denied {
			if _, err := nc.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
		}
		for range denied {
			select {
			case err := <-errs:
				if !strings.Contains(err.Error(), "ermissions Violation for Subscription") {
					t.Errorf("%s: %v", user, err)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s hears one of %v", user, denied)
			}
		}
	}
}

// What an operator may do, it can.
func TestOperatorsSteerNodesAndReadersDoNot(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := control.NewClient(w.connect(t, operator), 30*time.Second)
	if nodes, err := c.Nodes(ctx); err != nil || len(nodes) != 1 {
		t.Errorf("the operator finds %v, %v", nodes, err)
	}
	if err := c.Drain(ctx, "a", 0, 0); err != nil {
		t.Error(err)
	}
	if n := w.node.changes.Load(); n != 1 {
		t.Errorf("drained %d times", n)
	}
	c = control.NewClient(w.connect(t, reader), 2*time.Second)
	if nodes, err := c.Nodes(ctx); err != nil || len(nodes) != 1 {
		t.Errorf("the reader finds %v, %v", nodes, err)
	}
	if _, err := c.Info(ctx, "a"); err != nil {
		t.Error(err)
	}
	if err := c.Drain(ctx, "a", 0, 0); err == nil {
		t.Error("the reader drains a node")
	}
}
