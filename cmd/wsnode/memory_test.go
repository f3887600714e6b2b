package main

import "testing"

func TestMemoryIsGivenBackOnlyAtRestAndWhenItIsMuch(t *testing.T) {
	const mb = 1 << 20
	for name, c := range map[string]struct {
		before, now heap
		due         bool
	}{
		"after a burst":                {heap{allocated: 100 * mb}, heap{100*mb + 1000, 20 * mb, 50 * mb, 10 * mb, 2 * mb, 300}, true},
		"spare pages only":             {heap{allocated: 100 * mb}, heap{100 * mb, 20 * mb, 20 * mb, 10 * mb, 2 * mb, 300}, true},
		"stacks of sessions that rest": {heap{allocated: 100 * mb}, heap{100 * mb, 20 * mb, 20 * mb, 0, 20 * mb, 100}, true},
		"while it works":               {heap{allocated: 100 * mb}, heap{110 * mb, 20 * mb, 50 * mb, 10 * mb, 2 * mb, 300}, false},
		"little to gain":               {heap{allocated: 100 * mb}, heap{100 * mb, 20 * mb, 22 * mb, 1 * mb, 2 * mb, 300}, false},
		"little to gain in a large":    {heap{allocated: 100 * mb}, heap{100 * mb, 1000 * mb, 1100 * mb, 50 * mb, 2 * mb, 300}, false},
		"no collection yet":            {heap{allocated: 3 * mb}, heap{3 * mb, 0, 3 * mb, 0, 2 * mb, 300}, false},
		"more live than there is, too": {heap{allocated: 100 * mb}, heap{100 * mb, 20 * mb, 19 * mb, 1 * mb, 2 * mb, 300}, false},
	} {
		r := rest{allocated: c.before.allocated}
		if due := r.due(c.now); due != c.due {
			t.Errorf("%s: due %v", name, due)
		}
		if r.allocated != c.now.allocated {
			t.Errorf("%s: what was allocated is not remembered", name)
		}
	}
}
