package ystore

import (
	"errors"
	"strings"
	"testing"
)

func TestWhatDoesNotHangOnContentOfYrsIsTaken(t *testing.T) {
	hello := "\x01\x01\x07\x00\x04\x01\x01t\x05hello\x00"
	nested := func(levels int) string { return strings.Repeat("u\x01", levels) + "~" }
	for name, c := range map[string]struct {
		known         string
		update, sound string
		cause         Cause
	}{
		"a link, and what comes before it": {
			update: string(updatesOf(t, "yrs-weak-link")[0]),
			sound:  "\x01\x01\x07\x00\x28\x01\x01m\x01a\x01}\x01\x00", cause: WeakLink,
		},
		"a quotation": {
			update: string(updatesOf(t, "yrs-quotation")[0]),
			sound:  "\x01\x02\x07\x00\x04\x01\x01t\x05hello\x84\x07\x04\x06 world\x00", cause: WeakLink,
		},
		"a move": {
			update: string(updatesOf(t, "yrs-move")[0]),
			sound:  "\x01\x02\x07\x00\x08\x01\x01a\x01}\x01\x88\x07\x00\x02}\x02}\x03\x00", cause: Move,
		},
		"nothing before it":   {update: "\x01\x02\x07\x00\x07\x01\x01x\x07\x04\x07\x00\x04\x01\x01t\x01a\x00", cause: WeakLink},
		"a value too deep":    {update: "\x01\x03\x07\x00\x04\x01\x01t\x01a\x08\x01\x01x\x01" + nested(300) + "\x84\x07\x00\x01b\x00", sound: "\x01\x01\x07\x00\x04\x01\x01t\x01a\x00", cause: TooDeep},
		"two values too deep": {update: "\x01\x02\x07\x00\x04\x01\x01t\x01a\x08\x01\x01x\x02" + nested(300) + nested(400) + "\x00", sound: "\x01\x01\x07\x00\x04\x01\x01t\x01a\x00", cause: TooDeep},
		"JSON too deep":       {update: "\x01\x02\x07\x00\x04\x01\x01t\x01a\x05\x01\x01x\xd8\x04" + strings.Repeat("[", 300) + strings.Repeat("]", 300) + "\x00", sound: "\x01\x01\x07\x00\x04\x01\x01t\x01a\x00", cause: TooDeep},
		"others, but for what hangs on it": {
			// 9 hangs on 8, which hangs on 7's second id, a link; 6 hangs on 7's first.
			update: "\x04\x01\x09\x00\x84\x08\x01\x01c\x02\x08\x00\x04\x01\x01t\x01x\x84\x07\x01\x01b" +
				"\x02\x07\x00\x04\x01\x01t\x01a\x07\x01\x01x\x07\x04\x07\x00\x01\x06\x00\x84\x07\x00\x01d\x00",
			sound: "\x03\x01\x08\x00\x04\x01\x01t\x01x\x01\x07\x00\x04\x01\x01t\x01a\x01\x06\x00\x84\x07\x00\x01d\x00", cause: WeakLink,
		},
		"deletions of what comes with it only": {
			known: hello,
			update: "\x01\x02\x08\x00\x84\x07\x04\x03abc\x07\x01\x01x\x07\x04\x07\x00" +
				"\x02\x08\x01\x01\x05\x07\x01\x00\x02", // 8:1 to 8:6, 7:0 to 7:2
			sound: "\x01\x01\x08\x00\x84\x07\x04\x03abc\x01\x08\x01\x01\x02", cause: WeakLink,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Limits{})
			if c.known != "" {
				s.Apply([]byte(c.known))
			}
			_, err := s.Apply([]byte(c.update))
			var ue *UpdateError
			if !errors.As(err, &ue) || ue.Cause != c.cause {
				t.Fatalf("Apply: %v, want %v", err, c.cause)
			}
			if errors.Is(err, ErrTooDeep) != (c.cause == TooDeep) {
				t.Errorf("%v is ErrTooDeep: %v", err, c.cause != TooDeep)
			}
			sound, left, err := s.Sound([]byte(c.update))
			if err != nil || left == nil || *left != *ue {
				t.Fatalf("left %v, %v, want %v", left, err, ue)
			}
			if string(sound) != c.sound {
				t.Fatalf("sound is %q, want %q", sound, c.sound)
			}
			if sound != nil {
				if fresh, err := s.Apply(sound); err != nil || fresh == nil {
					t.Errorf("sound part: %v", err)
				}
			}
			if s.anyWaits() || s.Stats().Pending > 0 || s.Stats().PendingDeletes > 0 {
				t.Errorf("something waits: %+v", s.Stats())
			}
			check(t, s)
		})
	}
}

func TestAllOfASoundUpdateIsTaken(t *testing.T) {
	u := []byte("\x01\x01\x07\x00\x04\x01\x01t\x05hello\x00")
	if sound, left, err := New(Limits{}).Sound(u); string(sound) != string(u) || left != nil || err != nil {
		t.Errorf("%q, %v, %v", sound, left, err)
	}
	for _, u := range []string{
		"", "\x01\x01\x07\x00\x0c\x00", "\x01\x01\x07\x00\x07\x01\x01x\x07\x04\x07", "\x01\x01\x07\x00\x8b\x07\x00\x00",
		"\x01\x01\x07\x00\x08\x01\x01x\x01" + strings.Repeat("u\x01", 1<<20) + "~\x00",
	} {
		sound, left, err := New(Limits{}).Sound([]byte(u))
		var ue *UpdateError
		if sound != nil || left != nil || !errors.As(err, &ue) {
			t.Errorf("%.20q: %q, %v, %v", u, sound, left, err)
		}
	}
}
