package room

import (
	"errors"

	"github.com/wsnode/wsnode/relay/ystore"
)

// takeSound takes of an update that was refused for content that Yjs does not have what
// can be taken without it: its author is turned away for good, and what others may need
// of it would be lost. It reports whether anything was new.
func (s *Seat) takeSound(update []byte, refused error) (fresh bool) {
	var e *ystore.UpdateError
	if !errors.As(refused, &e) || !e.Partial() {
		return false
	}
	sound, _, err := s.room.content.store.Sound(update)
	if err != nil || sound == nil {
		return false
	}
	fresh, _ = s.apply(sound, ystore.Terms{Limited: true}) // what the author hears is why the whole was refused
	return fresh
}

// Unsound reports whether an error says that something is no update, whatever the document
// holds: time alone does not mend that.
func Unsound(err error) bool {
	e := (*ystore.UpdateError)(nil)
	return errors.As(err, &e)
}
