package load

import (
	"testing"
	"time"
)

func TestFanoutNoticesWhatAServerDoesWrong(t *testing.T) {
	for _, c := range []struct {
		fault   string
		noticed func(Faults) bool
	}{
		{"", func(f Faults) bool { return !f.Any() && f.Duplicated == 0 }},
		{"lose", func(f Faults) bool { return f.Lost > 0 }},
		{"repeat", func(f Faults) bool { return f.Duplicated > 0 && f.Lost == 0 }},
		{"garble", func(f Faults) bool { return f.Wrong > 0 }},
		{"forget", func(f Faults) bool { return f.TextsDiffer > 0 }},
	} {
		t.Run("fault "+or(c.fault, "none"), func(t *testing.T) {
			t.Parallel()
			r := startTestRelay(t, c.fault).runner(t)
			r.drainLimit = time.Second
			result, err := r.Fanout(t.Context(), "test", FanoutOptions{Docs: 3, Clients: 4, Rate: 1200,
				Warmup: 200 * time.Millisecond, Duration: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if !c.noticed(result.Faults) {
				t.Errorf("faults: %v", result.Faults)
			}
			if rate, _ := result.Value("deliveries"); rate < 900 || rate > 1500 {
				t.Errorf("%.0f deliveries a second, want about 1,200", rate)
			}
		})
	}
}

func TestMergedAndOverlappingUpdatesCountAsTheEditsInThem(t *testing.T) {
	r := &Runner{Target: Target{nodes: make([]node, 1)}}
	doc := newDocument("d", 1<<16, 2)
	doc.prefill(1, 10)
	c := r.newClient(newScoreboard(), doc, 0, 0)
	typed := make([]byte, 10)
	for clock := range typed {
		typed[clock] = character(1, uint32(clock))
	}
	apply := func(from, to uint32) {
		t.Helper()
		if err := readUpdate(appendInsert(nil, id{1<<16 + 1, from}, &id{1 << 16, 0}, nil, typed[from:to]), c); err != nil {
			t.Fatal(err)
		}
	}
	apply(0, 3)
	apply(5, 8) // ahead of its time
	if got := c.missing(); got != 4 {
		t.Errorf("%d are missing, want 4", got)
	}
	apply(2, 6) // the gap, and one known character on each side
	apply(8, 10)
	if b := c.board; c.missing() != 0 || b.delivered != 10 || b.duplicated != 2 || b.wrong != 0 {
		t.Errorf("missing %d, delivered %d, duplicated %d, wrong %d; want 0, 10, 2, 0", c.missing(), b.delivered, b.duplicated, b.wrong)
	}
	if len(c.late) != 0 {
		t.Errorf("%d characters are still held as early", len(c.late))
	}
}

func TestStormAndAwarenessRunAgainstAPlainRelay(t *testing.T) {
	r := startTestRelay(t, "").runner(t)
	storm, err := r.Storm(t.Context(), "storm", StormOptions{Docs: 3, Clients: 5, Typed: 20, Rounds: 1})
	if err != nil || storm.Faults.Any() {
		t.Errorf("storm: %v, %v", err, storm.Faults)
	}
	aware, err := r.Awareness(t.Context(), "awareness", AwarenessOptions{Docs: 2, Clients: 4, Rate: 100,
		Warmup: 100 * time.Millisecond, Duration: 500 * time.Millisecond})
	if err != nil || aware.Faults.Any() {
		t.Errorf("awareness: %v, %v", err, aware.Faults)
	}
	if rate, _ := aware.Value("deliveries"); rate < 200 || rate > 400 {
		t.Errorf("%.0f awareness deliveries a second, want about 300", rate)
	}
}
