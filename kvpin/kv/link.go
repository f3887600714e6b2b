package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/natsconn"
)

// Link is the connection to one NATS cluster that holds buckets. It is the
// buckets' own: with a reconnect buffer, or shared with traffic that fills the
// socket, a write could leave long after its caller gave up.
type Link struct {
	conn *natsconn.Conn

	mu        sync.Mutex
	replies   *natsconn.Replies // of requests
	repliesOn *nats.Conn        // the connection that they come on
	listeners []func()
	denied    error // the last permission that was missing
	deniedAt  time.Time
}

// Connect connects to a source's cluster, in the background if it is not there.
func Connect(source Source, name string, log *slog.Logger) (*Link, error) {
	l := &Link{}
	options := append(append([]nats.Option{}, source.Options...),
		nats.Name(name),
		nats.ReconnectWait(200*time.Millisecond),
		nats.ReconnectJitter(200*time.Millisecond, 300*time.Millisecond),
		// A black hole is noticed after two pings, and a new connection tried.
		nats.PingInterval(3*time.Second),
		nats.MaxPingsOutstanding(2),
	)
	conn, err := natsconn.Open(natsconn.Config{
		URL: source.URL, Options: options, Connected: l.connected, Failed: l.failed, What: "registry", Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to registry%s: %w", natsconn.At(source.URL), err)
	}
	l.conn = conn
	return l, nil
}

// Links are the connections to the clusters that hold buckets, one for each URL. They
// are made one after the other, before they are used by several goroutines.
type Links struct {
	name  string
	log   *slog.Logger
	byURL map[string]*Link
}

// NewLinks makes Links whose connections bear a name.
func NewLinks(name string, log *slog.Logger) *Links {
	return &Links{name, log, make(map[string]*Link)}
}

// To returns the link to a source's cluster, connecting to it if there is none yet.
func (l *Links) To(source Source) (*Link, error) {
	if link := l.byURL[source.URL]; link != nil {
		return link, nil
	}
	link, err := Connect(source, l.name, l.log)
	if err == nil {
		l.byURL[source.URL] = link
	}
	return link, err
}

// Close closes all connections.
func (l *Links) Close() {
	for _, link := range l.byURL {
		link.Close()
	}
}

// Ended returns an error while a connection, which ended for good, is opened anew.
// That a cluster is away is no such end.
func (l *Links) Ended() error {
	for _, link := range l.byURL {
		if err := link.conn.Ended(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the connection.
func (l *Link) Close() { l.conn.Close() }

// Ready waits for the first connection.
func (l *Link) Ready(ctx context.Context) error {
	for !l.conn.NATS().IsConnected() {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: cannot connect: %w", ErrUnavailable, errors.Join(ctx.Err(), l.conn.NATS().LastError()))
		}
		pause.Between(ctx, 10*time.Millisecond, 20*time.Millisecond)
	}
	return nil
}

// errNotConnected is returned for what was never sent.
var errNotConnected = errors.New("not connected")

// notConnected names the last error without wrapping it: that a dial ran out of
// time says nothing about the registry's answers.
func (l *Link) notConnected() error {
	return fmt.Errorf("%w: %v", errNotConnected, natsconn.Reason(l.conn.NATS()))
}

// failed takes an error that belongs to no request. All but a missing permission
// is noticed anyway.
func (l *Link) failed(err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.denied, l.deniedAt = err, time.Now()
	}
}

// answers is where those of requests come, on the connection as it is now.
func (l *Link) answers() (*natsconn.Replies, *nats.Conn, error) {
	nc := l.conn.NATS()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.replies != nil && l.repliesOn == nc {
		return l.replies, nc, nil
	}
	replies, err := natsconn.NewReplies(nc)
	if err != nil {
		return nil, nil, err
	}
	l.replies, l.repliesOn = replies, nc
	return replies, nc, nil
}

// question is a request whose answers are taken one after the other. Its end is to be
// forgotten.
type question struct {
	came    chan *nats.Msg
	replies *natsconn.Replies
	reply   string
}

// Receive implements natsconn.Receiver: what nobody takes is dropped.
func (q *question) Receive(m *nats.Msg) {
	select {
	case q.came <- m:
	default:
	}
}

func (q *question) forget() { q.replies.Forget(q.reply) }

// newQuestion is one to which up to most answers may come.
func newQuestion(most int) *question { return &question{came: make(chan *nats.Msg, most)} }

// short are questions with one answer that are over: every connect asks some.
var short = sync.Pool{New: func() any { return newQuestion(1) }}

// ask sends a request. After an error there is nothing to forget.
func (l *Link) ask(q *question, m *nats.Msg) error {
	replies, nc, err := l.answers()
	if err != nil {
		return err
	}
	q.replies, q.reply = replies, replies.Expect(q)
	m.Reply = q.reply
	if err := nc.PublishMsg(m); err != nil {
		q.forget()
		return err
	}
	return nil
}

// request sends a message and waits for its answer.
func (l *Link) request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	sent := time.Now()
	if l.conn.NATS().IsClosed() {
		return nil, l.notConnected()
	}
	q := short.Get().(*question)
	if err := l.ask(q, m); err != nil {
		return nil, l.explain(sent, err)
	}
	defer func() {
		q.forget()
		select {
		case <-q.came: // nobody waited for it any more
		default:
		}
		short.Put(q)
	}()
	select {
	case answer := <-q.came:
		if nobody(answer) {
			return nil, l.explain(sent, nats.ErrNoResponders)
		}
		return answer, nil
	case <-ctx.Done():
		return nil, l.explain(sent, ctx.Err())
	}
}

// nobody reports whether NATS says that nobody subscribes to what was asked.
func nobody(answer *nats.Msg) bool {
	return len(answer.Data) == 0 && answer.Header.Get("Status") == "503"
}

// explain says what the error of a request means, which was sent then. Without a
// connection, nats.go names the buffer that it does not have. And a server does not
// answer what it denies: it names the subject, apart from any request.
func (l *Link) explain(sent time.Time, err error) error {
	if errors.Is(err, nats.ErrReconnectBufExceeded) {
		return l.notConnected()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(err, context.DeadlineExceeded) && l.deniedAt.After(sent) {
		return fmt.Errorf("%w; meanwhile: %v", err, l.denied)
	}
	return err
}

// OnConnect has f called, from the connection's goroutine, after each connect.
func (l *Link) OnConnect(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listeners = append(l.listeners, f)
}

func (l *Link) connected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.listeners {
		f()
	}
}
