package session

import "errors"

// errCrowded is returned for a message that is more than the node can take in now.
var errCrowded = errors.New("too many large messages at once")

// account counts what the message being read takes, and reports whether the node can
// bear it: each may become as large as a document, and whoever sends it may stop half
// way. Small ones are bounded by the number of connections.
func (s *Session) account(size int) bool {
	if size <= maxKeptBuffer {
		return true
	}
	more := int64(size) - s.held
	s.held += more
	total := s.cfg.incoming.Add(more)
	return s.cfg.MaxIncomingBytes < 0 || total <= int64(s.cfg.MaxIncomingBytes)
}

// forget is called when a message has been handled, or never will be.
func (s *Session) forget() {
	if s.held > 0 {
		s.cfg.incoming.Add(-s.held)
		s.held = 0
	}
}
