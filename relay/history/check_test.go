package history

import (
	"log/slog"
	"strings"
	"testing"
)

// A stream that works says nothing of one that does not.
func TestEachStreamThatFailsIsToldOfOnce(t *testing.T) {
	var told strings.Builder
	c := &check{h: &History{config: Config{Log: slog.New(slog.NewTextHandler(&told, nil))}}}
	for range 3 {
		c.note(0, ErrUnavailable)
		c.note(1, nil)
	}
	c.note(0, nil)
	c.note(0, nil)
	if fails, works := strings.Count(told.String(), "cannot be used"), strings.Count(told.String(), "can be used again"); fails != 1 || works != 1 {
		t.Errorf("it is told %d times that a stream fails, and %d times that it works:\n%s", fails, works, told.String())
	}
}
