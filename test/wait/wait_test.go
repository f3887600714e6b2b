package wait_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/test/wait"
)

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	said   []string
	failed bool
}

func (r *recorder) Helper()      {}
func (r *recorder) Failed() bool { return r.failed }

func (r *recorder) Logf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Logf(format, args...)
	r.failed = true
	panic(r)
}

// ends reports what a test says that is ended by wait; "" if it is not.
func ends(do func(testing.TB)) (said string) {
	r := &recorder{}
	defer func() {
		if e := recover(); e != nil && e != any(r) {
			panic(e)
		}
		said = strings.Join(r.said, "\n")
	}()
	do(r)
	return ""
}

func TestWhatHoldsInTheEndIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		holds := func() bool { return time.Since(start) > 30*time.Second }
		if took := wait.Within(t, time.Minute, "it holds", holds); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("took %v", took)
		}
		start = time.Now()
		wait.For(t, "it works", func() error {
			if holds() {
				return nil
			}
			return errors.New("not yet")
		})
	})
}

func TestWhatNeverHoldsEndsTheTestAndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		said := ends(func(tb testing.TB) { wait.For(tb, "the door opens", func() error { return errors.New("no key") }) })
		if !strings.Contains(said, fmt.Sprintf("not within %v: the door opens", wait.Patience)) || !strings.Contains(said, "no key") {
			t.Error(said)
		}
		if took := time.Since(start); took > 2*wait.Patience {
			t.Errorf("took %v", took)
		}
	})
}
