package room

// The content of what is deleted is kept in a life whose base says so: by all rooms of it,
// as long as it lasts. A room that meets such content in a life without it, because
// another region keeps it, goes over: it says so in a snapshot of its history, and the
// rooms on other pods follow when they read that. There is no way back but an operator's,
// between two lives (docs.Drop).

// Merge makes one update of several that the seat was sent.
func (s *Seat) Merge(updates [][]byte) ([]byte, error) { return s.room.content.merge(updates) }
