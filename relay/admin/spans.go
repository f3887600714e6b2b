package admin

import (
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"time"
)

// Span is a stretch of time in a trace. A nil Span, which stands for one that is
// not sampled, may be used like any other. A Span is used by one goroutine at a
// time.
type Span struct {
	tracer     *Tracer
	name       string
	trace      [16]byte
	id, parent [8]byte
	start, end time.Time
	attributes []attribute
	failure    string
}

type attribute struct{ key, value string }

// Start begins a trace, or goes on with the one that a proxy began: traceparent is
// that header of the request (W3C Trace Context). A nil Tracer begins nothing.
func (t *Tracer) Start(name, traceparent string) *Span {
	if t == nil {
		return nil
	}
	s := &Span{tracer: t, name: name, start: time.Now()}
	sampled, ok := s.continueFrom(traceparent)
	if !ok {
		fill(s.trace[:])
		sampled = rand.Float64() < t.ratio
	}
	if !sampled {
		return nil
	}
	fill(s.id[:])
	return s
}

// continueFrom takes trace and parent from a header such as
// 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.
func (s *Span) continueFrom(traceparent string) (sampled, ok bool) {
	parts := strings.Split(traceparent, "-")
	if len(parts) < 4 || len(parts[0]) != 2 || len(parts[1]) != 32 || len(parts[2]) != 16 || len(parts[3]) != 2 {
		return false, false
	}
	var flags [1]byte
	for _, field := range []struct {
		to   []byte
		from string
	}{{s.trace[:], parts[1]}, {s.parent[:], parts[2]}, {flags[:], parts[3]}} {
		if _, err := hex.Decode(field.to, []byte(field.from)); err != nil {
			s.trace, s.parent = [16]byte{}, [8]byte{}
			return false, false
		}
	}
	if s.trace == ([16]byte{}) || s.parent == ([8]byte{}) {
		s.parent = [8]byte{}
		return false, false
	}
	return flags[0]&1 == 1, true
}

// fill makes an id, which is never all zeros.
func fill(id []byte) {
	for {
		var any byte
		for i := range id {
			id[i] = byte(rand.Uint32())
			any |= id[i]
		}
		if any != 0 {
			return
		}
	}
}

// Child begins a span within this one.
func (s *Span) Child(name string) *Span {
	if s == nil {
		return nil
	}
	child := &Span{tracer: s.tracer, name: name, trace: s.trace, parent: s.id, start: time.Now()}
	fill(child.id[:])
	return child
}

// Set notes something about the span. Values must hold no secrets.
func (s *Span) Set(key, value string) {
	if s != nil {
		s.attributes = append(s.attributes, attribute{key, value})
	}
}

// End ends the span and hands it to the exporter. err says what went wrong; nil:
// nothing. The span must not be used any more.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	s.end = time.Now()
	if err != nil {
		s.failure = err.Error()
	}
	select {
	case s.tracer.ended <- s:
	default:
		s.tracer.dropped.Add(1)
	}
}
