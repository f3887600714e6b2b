package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/natsconn"
)

// rights tries out what a connection's user may do, by requests that change nothing. It
// belongs to one goroutine, as does its connection.
type rights struct {
	nc      *nats.Conn
	timeout time.Duration // for all of them together
	missing []string      // what is denied, or gets no answer
}

// noStream is the stream that writes expect: a server that lets one through, to its
// stream, refuses it for another reason than permissions.
const noStream = "wsnode-check"

// subscribe finds out whether a subject may be subscribed to.
func (r *rights) subscribe(ctx context.Context, subjects ...string) {
	for _, subject := range subjects {
		sub, err := r.nc.SubscribeSync(subject)
		if err == nil {
			err = r.flush(ctx, subject)
			_ = sub.Unsubscribe() // the connection is closed soon
		}
		if err != nil {
			r.lack("subscribe to "+subject, err)
		}
	}
}

// publish finds out whether a subject may be published to which nobody has
// subscribed to.
func (r *rights) publish(ctx context.Context, subjects ...string) {
	for _, subject := range subjects {
		err := r.nc.Publish(subject, nil)
		if err == nil {
			err = r.flush(ctx, subject)
		}
		if err != nil {
			r.lack("publish to "+subject, err)
		}
	}
}

// write finds out whether a subject may be written that a stream has: it writes
// nothing, since it expects another stream.
func (r *rights) write(ctx context.Context, subject string) {
	m := nats.NewMsg(subject)
	m.Header.Set("Nats-Expected-Stream", noStream)
	r.request(ctx, m)
}

// ask finds out whether a request may be made that only looks, and reports whether it
// found something.
func (r *rights) ask(ctx context.Context, subject, data string) (found bool) {
	return r.request(ctx, &nats.Msg{Subject: subject, Data: []byte(data)})
}

func (r *rights) request(ctx context.Context, m *nats.Msg) (found bool) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	m.Reply = natsconn.NewInbox(r.nc)
	sub, err := r.nc.SubscribeSync(m.Reply)
	if err == nil {
		defer func() { _ = sub.Unsubscribe() }()
		err = r.flush(ctx, m.Reply)
	}
	if err != nil {
		r.lack("subscribe to "+m.Reply, err)
		return false
	}
	if err = r.nc.PublishMsg(m); err == nil {
		err = r.flush(ctx, m.Subject)
	}
	if err == nil {
		var answer *nats.Msg
		if answer, err = sub.NextMsgWithContext(ctx); err == nil {
			found, err = judgeAnswer(answer)
		}
	}
	if err != nil {
		r.lack("publish to "+m.Subject, err)
	}
	return found
}

// judgeAnswer is what an answer says about permissions, if it says something, and
// whether what was asked for is there.
func judgeAnswer(m *nats.Msg) (found bool, err error) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return false, nats.ErrNoResponders
	}
	var answer struct {
		Error *struct {
			Code        int
			ErrCode     int `json:"err_code"`
			Description string
		}
	}
	if json.Unmarshal(m.Data, &answer) != nil || answer.Error == nil {
		return true, nil
	}
	if answer.Error.Code == 503 {
		return false, errors.New(answer.Error.Description)
	}
	return false, nil
}

var errDenied = errors.New("denied")

// flush waits until the server has seen what was sent. It says that it denies something
// before it answers.
func (r *rights) flush(ctx context.Context, subject string) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if err := r.nc.FlushWithContext(ctx); err != nil {
		return err
	}
	if last := r.nc.LastError(); errors.Is(last, nats.ErrPermissionViolation) && strings.Contains(last.Error(), strconv.Quote(subject)) {
		return errDenied
	}
	return nil
}

func (r *rights) lack(what string, err error) {
	switch {
	case errors.Is(err, errDenied):
		r.missing = append(r.missing, "it may not "+what)
	case errors.Is(err, nats.ErrNoResponders):
		r.missing = append(r.missing, what+" reaches nobody: its account does not import it, or JetStream is not there")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		r.missing = append(r.missing, what+" gets no answer")
	default:
		r.missing = append(r.missing, fmt.Sprintf("%s: %v", what, err))
	}
}

// judge adds what was found.
func (r *rights) judge(to *report, user, set string) {
	if len(r.missing) == 0 {
		to.add("permissions", OK, "", "%s may do what nodes do", user)
		return
	}
	to.add("permissions", Wrong, "give it what "+set+" in deploy/nats/permissions.conf has, and the imports of its account",
		"%s lacks rights: %s", user, strings.Join(r.missing, "; "))
}
