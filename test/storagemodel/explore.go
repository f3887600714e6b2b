package storagemodel

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// Longest is how many steps a schedule has at most.
const Longest = 16

// Finding is a schedule that breaks the protocol, shortened as far as it still does so
// in the same way.
type Finding struct {
	Schedule []Step
	Broken   string // how
}

// String lists the steps.
func (f Finding) String() string {
	names := make([]string, len(f.Schedule))
	for i, s := range f.Schedule {
		names[i] = s.Name
	}
	return f.Broken + ": " + strings.Join(names, ", ")
}

// Explore tries so many random schedules, which the seed repeats, and returns the
// first that breaks the protocol under these rules.
func Explore(schedules int, seed uint64, rules ...Rule) (Finding, bool) {
	random := rand.New(rand.NewPCG(seed, 0))
	all := steps()
	for range schedules {
		schedule := draw(random, all, rules)
		if broken := Run(schedule, rules...); broken != "" {
			return shorten(Finding{schedule, broken}, rules), true
		}
	}
	return Finding{}, false
}

// draw makes a schedule of steps that can happen.
func draw(random *rand.Rand, all []Step, rules []Rule) []Step {
	m := New(rules...)
	var schedule []Step
	for range 60 {
		if s := all[random.IntN(len(all))]; s.do(m) {
			schedule = append(schedule, s)
		}
		if len(m.violations) > 0 || len(schedule) >= Longest {
			break
		}
	}
	return schedule
}

// Run does the steps that can happen, settles, and says how the protocol broke, or
// nothing.
func Run(schedule []Step, rules ...Rule) string {
	m := New(rules...)
	for _, s := range schedule {
		if s.do(m); len(m.violations) > 0 {
			return m.violations[0]
		}
	}
	if m.Settle(); len(m.violations) > 0 {
		return m.violations[0]
	}
	return ""
}

func shorten(f Finding, rules []Rule) Finding {
	for i := 0; i < len(f.Schedule); {
		shorter := slices.Delete(slices.Clone(f.Schedule), i, i+1)
		if Run(shorter, rules...) == f.Broken {
			f.Schedule, i = shorter, 0
		} else {
			i++
		}
	}
	return f
}

// Draw returns the names of the steps of a random schedule, which the seed repeats, of
// those that can is true for: to do the same with the real thing.
func Draw(seed uint64, can func(name string) bool) (names []string) {
	all := slices.DeleteFunc(steps(), func(s Step) bool { return !can(s.Name) })
	for _, s := range draw(rand.New(rand.NewPCG(seed, 0)), all, Rules) {
		names = append(names, s.Name)
	}
	return names
}
