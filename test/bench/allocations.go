package main

import (
	"bufio"
	"cmp"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// counting says how the allocations of a package's benchmarks are counted: so often that
// what happens once does not show, and only where they are the same each time.
type counting struct {
	pkg, benchmarks, iterations string
	leftOut                     string // of the benchmarks
}

var countings = []counting{
	{pkg: "authn", benchmarks: "Verify", iterations: "1000x"},
	{pkg: "relay/quota", benchmarks: "Admit|Count", iterations: "1000x"},
	{pkg: "relay/ratelimit", benchmarks: "SessionBudget", iterations: "1000x"},
	{pkg: "relay", benchmarks: "PageOfSessions", iterations: "100x"},
	// One operation is a whole session of typing, or a document of one. Growth only tells how
	// times grow, and the longer strings take seconds.
	{pkg: "relay/ystore", benchmarks: "Load|Encode|EncodeCached|Diff|ApplyKnown", iterations: "200x"},
	{pkg: "relay/ystore", benchmarks: "Apply|SplitLongString", iterations: "100x", leftOut: "SplitLongString/(131072|1048576)"},
	// The NATS server is in the same process. At a pace of its own it allocates for what
	// happened to come together, as it does for each append.
	{pkg: "kvpin", benchmarks: "Registry", iterations: "1000x", leftOut: "Registry/servers=3|Registry/servers=1/pins=1|Registry/servers=1/pins=0/parallel"},
	{pkg: "relay/bus", benchmarks: "PublishAndReceive|Publish|Subscription", iterations: "5000x", leftOut: "PublishAndReceive/at_2000_per_second"},
	{pkg: "relay/history", benchmarks: "Acknowledgement", iterations: "5000x"},
	{pkg: "relay/history", benchmarks: "Load", iterations: "20x", leftOut: "Load/many_at_once"}, // what its goroutines begin with is not even
}

// counts are allocations per operation, by package of this checkout and benchmark.
type counts map[string]float64

// count counts each benchmark once, those of only if it is not nil.
func (s *side) count(only counts) (counts, error) {
	s.env = []string{"GOGC=off", "GOMEMLIMIT=1GiB"} // a collection empties pools
	found := counts{}
	for _, c := range countings {
		wanted := slices.DeleteFunc(strings.Split(c.benchmarks, "|"), func(name string) bool { return only != nil && !only.have(c.pkg+" "+name) })
		if len(wanted) == 0 {
			continue
		}
		got, err := s.measure(c.pkg, 0,
			"-test.bench=^Benchmark("+strings.Join(wanted, "|")+")$", "-test.skip="+cmp.Or(c.leftOut, "^$"), "-test.benchtime="+c.iterations)
		if err != nil {
			return nil, err
		}
		for key, f := range got {
			found[key] = f.allocations
		}
	}
	return found, nil
}

// have reports whether a benchmark, or one below it, is counted.
func (c counts) have(benchmark string) bool {
	for key := range c {
		if key == benchmark || strings.HasPrefix(key, benchmark+"/") {
			return true
		}
	}
	return false
}

// keepLeast takes over what is less in another count, and what is only there.
func (c counts) keepLeast(other counts) {
	for key, n := range other {
		if before, ok := c[key]; !ok || n < before {
			c[key] = n
		}
	}
}

// tries is how often something is counted at most: what the runtime allocates meanwhile, or
// another goroutine, comes on top. The least is what the code itself does.
const tries = 5

const allocationsHead = `# Allocations per operation of the Go benchmarks at commit %s, the least of %d runs each, by
#   go run ./test/bench -with %[1]s -record test/bench/allocations.txt
# The package's test fails when one allocates more often today. How many iterations each was
# given is in allocations.go; how the former benchmarks read the corpora of today, in measure.go.
`

func recordAllocations(file, commit string, then *side) error {
	least := counts{}
	for range tries {
		found, err := then.count(nil)
		if err != nil {
			return err
		}
		least.keepLeast(found)
	}
	var text strings.Builder
	fmt.Fprintf(&text, allocationsHead, commit, tries)
	for _, key := range slices.Sorted(maps.Keys(least)) {
		fmt.Fprintf(&text, "%s %.0f\n", key, least[key])
	}
	return os.WriteFile(file, []byte(text.String()), 0o644)
}

func readAllocations(file string) (counts, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	recorded := counts{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			return nil, fmt.Errorf("%s: %q: expected a package, a benchmark and a number", file, line)
		}
		n, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		recorded[line[:at]] = n
	}
	return recorded, nil
}

// processors is what a benchmark's name ends with on a machine of several.
var processors = regexp.MustCompile(`-\d+$`)
