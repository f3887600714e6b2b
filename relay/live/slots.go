package live

import (
	"context"
	"sync"

	"github.com/wsnode/wsnode/docid"
)

// slots bound how many documents are stored at a time, for each license region by itself:
// each has its own store, and one that hangs keeps none waiting but its own.
type slots struct {
	mu   sync.Mutex
	of   map[docid.LicenseRegion]chan struct{} // a token for each that is taken
	full map[docid.LicenseRegion]bool          // somebody has asked in vain since one was given back
}

func (s *slots) channel(license docid.LicenseRegion) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.of[license]
	if c == nil {
		if s.of == nil {
			s.of, s.full = map[docid.LicenseRegion]chan struct{}{}, map[docid.LicenseRegion]bool{}
		}
		c = make(chan struct{}, savesAtOnce)
		s.of[license] = c
	}
	return c
}

// take waits for a slot. It returns false if ctx has ended before.
func (s *slots) take(ctx context.Context, license docid.LicenseRegion) bool {
	select {
	case s.channel(license) <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// try takes a slot if there is one. If not, give will say that somebody has asked.
func (s *slots) try(license docid.LicenseRegion) bool {
	c := s.channel(license)
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case c <- struct{}{}:
		return true
	default:
		s.full[license] = true
		return false
	}
}

// give gives a slot back, and reports whether somebody has asked for one in vain.
func (s *slots) give(license docid.LicenseRegion) (wanted bool) {
	c := s.channel(license)
	s.mu.Lock()
	defer s.mu.Unlock()
	<-c
	wanted = s.full[license]
	delete(s.full, license)
	return wanted
}
