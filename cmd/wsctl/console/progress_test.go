package console

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What takes long shows a bar on a terminal, five times a second at most and gone at the end;
// elsewhere it is a line now and then; and what is short shows nothing.
func TestWhatTakesLongTellsHowFarItIs(t *testing.T) {
	shows := func(terminal bool, all int, lasts time.Duration) string {
		var out strings.Builder
		p := (&Console{Out: &out, Err: &out}).Progress("imported", "documents")
		p.terminal = terminal
		for began, done := time.Now(), 0; time.Since(began) < lasts; done++ {
			time.Sleep(50 * time.Millisecond)
			p.Count(done, all)
		}
		p.End()
		return out.String()
	}
	synctest.Test(t, func(t *testing.T) {
		for _, terminal := range []bool{true, false} {
			if said := shows(terminal, 100, 900*time.Millisecond); said != "" {
				t.Errorf("what is short shows %q", said)
			}
		}
		bar := shows(true, 100, 5*time.Second)
		if !strings.Contains(bar, "imported 59 [#################.............] of 100 documents") || !strings.HasSuffix(bar, "\r\x1b[K") {
			t.Errorf("a terminal is shown %q", bar)
		}
		if bars := strings.Count(bar, "imported"); bars < 15 || bars > 21 || strings.Contains(bar, "\n") {
			t.Errorf("it is shown %d bars in 4 s, or lines: %q", bars, bar)
		}
		lines := shows(false, 0, 25*time.Second)
		if strings.Count(lines, "\n") != 3 || strings.ContainsAny(lines, "\r\x1b[#") {
			t.Errorf("elsewhere there is %q", lines)
		}
	})
}
