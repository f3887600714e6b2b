package live

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// stops are the open documents that have stopped taking edits, since another node moves
// them. Each comes back when it is told that the move is over, or when its time is.
type stops struct {
	log  *slog.Logger
	wake chan struct{}

	mu    sync.Mutex
	until map[*Document]time.Time
}

func (s *stops) init(log *slog.Logger) {
	s.log, s.wake, s.until = log, make(chan struct{}, 1), map[*Document]time.Time{}
}

// add notes that a document stops, at the latest until a time.
func (s *stops) add(d *Document, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, stopped := s.until[d]; stopped {
		return // a later mark is removed when the time of the first is over, and its move fails
	}
	s.until[d] = until
	s.signal()
}

// goOnNow has a document that stopped come back now.
func (s *stops) goOnNow(d *Document) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, stopped := s.until[d]; stopped {
		s.until[d] = time.Now()
		s.signal()
	}
}

func (s *stops) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take reports whether a document has stopped, and whoever takes it has it come back.
func (s *stops) take(d *Document) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, stopped := s.until[d]
	delete(s.until, d)
	return stopped
}

// due takes the documents whose time is over, and says how long to wait for the next.
func (s *stops) due(now time.Time) (due []*Document, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait = time.Hour
	for d, until := range s.until {
		if rest := until.Sub(now); rest > 0 {
			wait = min(wait, rest)
			continue
		}
		delete(s.until, d)
		due = append(due, d)
	}
	return due, wait
}

// run has documents come back, until ctx ends.
func (s *stops) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var returning sync.WaitGroup
	defer returning.Wait()
	for {
		due, wait := s.due(time.Now())
		for _, d := range due {
			returning.Go(func() { d.goOn(ctx, s.log) })
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}
