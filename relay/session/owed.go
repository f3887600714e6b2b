package session

// owed is how many bytes of messages to this client alone its socket has not taken: of
// those that were written, and of those in the queue. Messages that others are sent as
// well are in memory once, and not counted.
type owed struct{ written, queued int }

// owe counts a message to this client alone that was sent just now, unless the socket has
// taken it. It reports whether the node can bear it.
func (s *sender) owe(bytes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone || !s.behind:
		return true
	case len(s.queue) > 0:
		s.owed.queued += bytes
	default:
		s.owed.written += bytes
	}
	return s.conn.Owe(s.share, bytes)
}

// noteWritten notes that the socket has taken what was written, and that what is in the
// queue is written now; if all is set, that nothing waits any more. Callers hold mu.
func (s *sender) noteWritten(all bool) {
	taken := s.owed.written
	s.owed.written, s.owed.queued = s.owed.queued, 0
	if all {
		taken += s.owed.written
		s.owed.written = 0
	}
	if taken > 0 {
		s.conn.Owe(s.share, -taken)
	}
}
