package live

import (
	"errors"
	"sync"
)

// fate is what has become of an open document for those who use it: it is here, or it has
// gone to another region, has ended, or was deleted. That it was deleted is the last word:
// nothing that is told later changes it, and nobody waits for its history any more.
type fate struct {
	mu          sync.Mutex
	gone        error  // what clients are told; nil: it is here, or nobody has said yet
	stopWaiting func() // ends the wait for the history; nil while nothing has waited
}

// become notes what has become of the document. It reports false, and changes nothing, if
// that was deleted before.
func (f *fate) become(gone error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if errors.Is(f.gone, ErrDeleted) {
		return false
	}
	f.gone = gone
	if errors.Is(gone, ErrDeleted) && f.stopWaiting != nil {
		f.stopWaiting()
	}
	return true
}

// get returns what clients are told; nil: the document is here, as far as is known.
func (f *fate) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone
}

// deleted reports whether the document was found to be deleted.
func (f *fate) deleted() bool { return errors.Is(f.get(), ErrDeleted) }

// waits has a wait for the history end when the document is found to be deleted. It
// reports false if it has been: there is nothing to wait for.
func (f *fate) waits(stop func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopWaiting = stop
	return !errors.Is(f.gone, ErrDeleted)
}

// hasMoved reports whether an open document has gone to another region, or has ended:
// nothing else ends its hold before the entry closes, when nobody asks any more.
func (d *Document) hasMoved() bool {
	select {
	case <-d.hold.Done():
		return true
	default:
		return false
	}
}

// StillHere returns an error if an open document has gone to another region, or has ended:
// where it is, or that the client should try again until that is known.
func (d *Document) StillHere() error {
	if gone := d.fate.get(); gone != nil {
		return gone
	}
	if d.hasMoved() {
		return ErrMoving
	}
	return nil
}
