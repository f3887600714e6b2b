package relay

import (
	"sync"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/conn"
)

// shares has the share of each app with sessions on this node.
type shares struct {
	mu   sync.Mutex
	apps map[docid.AppID]*appShare
}

type appShare struct {
	conn.Share
	sessions int // guarded by shares.mu
}

// enter returns the app's share for one more session.
func (s *shares) enter(app docid.AppID) *conn.Share {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.apps == nil {
		s.apps = map[docid.AppID]*appShare{}
	}
	of := s.apps[app]
	if of == nil {
		of = new(appShare)
		s.apps[app] = of
	}
	of.sessions++
	return &of.Share
}

// leave takes a session out.
func (s *shares) leave(app docid.AppID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.apps[app]
	if of.sessions--; of.sessions == 0 {
		delete(s.apps, app)
	}
}
