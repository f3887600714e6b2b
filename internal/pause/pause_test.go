package pause

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestAPauseLastsItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, wait := range map[string]func() bool{
			"for":          func() bool { return For(t.Context(), time.Hour) },
			"between":      func() bool { return Between(t.Context(), time.Hour, 90*time.Minute) },
			"between same": func() bool { return Between(t.Context(), time.Hour, time.Hour) },
		} {
			start := time.Now()
			if !wait() {
				t.Errorf("%s: the context is said to have ended", name)
			}
			if took := time.Since(start); took < time.Hour || took >= 90*time.Minute {
				t.Errorf("%s: took %v", name, took)
			}
		}
		if start := time.Now(); !For(t.Context(), -time.Second) || time.Since(start) != 0 {
			t.Error("no time is waited for")
		}
	})
}

func TestAPauseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if For(ctx, time.Hour) || time.Since(start) != time.Minute {
			t.Error("the pause went on")
		}
		if For(ctx, 0) || Between(ctx, 0, time.Hour) {
			t.Error("an ended context is said to go on")
		}
	})
}

func TestWhoIsSentAwayEachTimeIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Backoff{First: time.Second, Most: 3 * time.Second}
		if wait := b.Next(); wait != 0 {
			t.Errorf("who was never in waits %v", wait)
		}
		for _, want := range []time.Duration{1, 2, 3, 3} {
			b.In()
			if wait := b.Next(); wait != want*time.Second {
				t.Errorf("%v instead of %v s", wait, int(want))
			}
		}
		b.In()
		time.Sleep(3 * time.Second)
		if wait := b.Next(); wait != 0 {
			t.Errorf("who has stayed waits %v", wait)
		}
		b.In()
		if wait := b.Next(); wait != time.Second {
			t.Errorf("%v the next time", wait)
		}
	})
}
