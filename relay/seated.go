package relay

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/session"
	"github.com/wsnode/wsnode/relay/ystore"
)

// seated is an admitted client with a session in a document of this node: mux.Seat. What it
// took up is given back by Leave, or by giveBack if its session never began.
type seated struct {
	admission
	guard   *guard
	session *session.Session
	seat    *room.Seat // set before it is on the roster
	id      uint64     // in the node's roster; set by clients
	first   atomic.Pointer[first]
}

func (s *seated) Stream() session.Stream      { return s.session }
func (s *seated) ReadOnly() bool              { return s.readOnly }
func (s *seated) Share() *conn.Share          { return s.session.Share() }
func (s *seated) end(code int, reason string) { s.session.Close(code, reason) }
func (s *seated) cut()                        { s.session.End() }

// run is the session. It may be parked, without a goroutine, so that its end comes by
// itself: then everything is given back in reverse.
func (s *seated) run(c *conn.Conn) {
	n := s.node
	share := n.gate.enter(s.grant.AppID())
	s.guard = n.gate.guard(s.grant)
	s.session = session.New(c, &n.cfg.Sessions, s.guard, s.readOnly)
	if s.arrival != nil && s.arrival.Counts {
		s.session.Relayed()
	}
	s.session.Charge(share)
	c.Attach(&n.cfg.Conns, n.keepalive, (*alone)(s), s.guard, share)
	if err := s.join(); err != nil {
		c.Refuse(closecode.TryAgain, closecode.ReasonTryAgain)
		s.giveBack()
		return
	}
	c.Run((*alone)(s).closed)
}

// join seats the session.
func (s *seated) join() (err error) {
	n := s.node
	if s.seat, err = s.live.Room().Join(s.session, s.grant.User); err != nil {
		return err
	}
	if s.arrival != nil && s.arrival.Counts {
		s.seat.Counts()
	}
	s.session.Sit(s.seat)
	n.recent.count(admitted)
	n.clients.add(s)
	// What began between the check and here.
	if n.life.draining() {
		s.session.Close(closecode.Restart, closecode.ReasonRestart)
	}
	if err := s.live.StillHere(); err != nil {
		told := answer(err)
		s.session.Close(told.code, told.reason)
	}
	return nil
}

// Leave is the session's end.
func (s *seated) Leave(closed conn.Closed) {
	s.node.clients.remove(s)
	s.seat.Leave()
	s.ended(closed)
	s.session.Detach() // what waited is counted no more
	s.giveBack()
}

// giveBack undoes what run began with, and the admission.
func (s *seated) giveBack() {
	s.guard.close()
	s.node.gate.leave(s.grant.AppID())
	s.admission.giveBack()
	s.node.life.leave()
}

// SessionEnded is the message of the log line that each session ends with.
const SessionEnded = "session ended"

// ended writes the whole story of a session in one line.
func (s *seated) ended(c conn.Closed) {
	stats := s.session.Stats()
	s.node.recent.end(control.Ended{Session: s.row(s.id, stats), Code: c.Code, Reason: c.Reason, ByNode: c.Ours})
	s.node.log.Info(SessionEnded, append([]any{"document", s.doc.String(), "code", c.Code, "reason", c.Reason, "by_node", c.Ours,
		"remote", s.remote, "user_agent", clip(s.userAgent), "session", control.SessionID(s.id), "seconds", time.Since(stats.Since).Seconds(),
		"frames_in", stats.FramesIn, "frames_out", stats.FramesOut, "bytes_in", stats.BytesIn, "bytes_out", stats.BytesOut}, because(c.Err)...)...)
}

// because says in a log line what a client sent that ended its session.
func because(err error) (args []any) {
	if err == nil {
		return nil
	}
	args = []any{"err", err.Error()}
	if message := (*session.MessageError)(nil); errors.As(err, &message) {
		args = append(args, "message", message.Kind.String())
	}
	if update := (*ystore.UpdateError)(nil); errors.As(err, &update) {
		args = append(args, "offset", update.Offset, "cause", update.Cause.String())
	}
	return args
}

var _ room.Member = (*session.Session)(nil)
