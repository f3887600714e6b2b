package load

import (
	"context"
	"fmt"
	"math"
	"time"
)

// SaturationOptions say where the search begins and what still counts as keeping up.
type SaturationOptions struct {
	Docs, Clients int
	Start         int           // deliveries per second of the first step
	Step          time.Duration // measured time of a step
	P99           time.Duration // a step with a higher 99th percentile has failed
}

// Saturation looks for the most deliveries per second without a loss and with a 99th percentile
// under the limit: it doubles the rate until a step fails, then halves the gap until it is a tenth. A step that fails
// is tried again once, since a neighbour on the machine can spoil it.
func (r *Runner) Saturation(ctx context.Context, name string, o SaturationOptions) (Result, error) {
	result := Result{Scenario: name, Target: r.Target.Name}
	low, high := 0.0, math.Inf(1)
	rate := float64(o.Start)
	var best *typing
	for step := 0; step < 20 && high/max(low, 1) > 1.1; step++ {
		var run *typing
		var passed bool
		for try := 0; try < 2 && !passed; try++ {
			var err error
			run, err = r.fanout(ctx, name, FanoutOptions{Docs: o.Docs, Clients: o.Clients, Rate: int(rate),
				Warmup: time.Second, Duration: o.Step}, 3*time.Second)
			if err != nil {
				return result, fmt.Errorf("%s at %.0f/s: %w", name, rate, err)
			}
			passed = keepsUp(run, rate, o.P99)
			result.Notes = append(result.Notes, fmt.Sprintf("%s/s: %s/s, p99 %.1f ms, lost %d, generator late %.0f ms: %s", format(rate), format(run.rate),
				float64(p99(run))/1000, run.faults.Lost, float64(run.late)/1e6, map[bool]string{true: "passed", false: "failed"}[passed]))
			r.progress("%s: %s", name, result.Notes[len(result.Notes)-1])
			r.pause(ctx, time.Second) // the server buries the connections of this step
		}
		if passed {
			low, best = rate, run
		} else {
			high = rate
		}
		if math.IsInf(high, 1) {
			rate = low * 2
		} else {
			rate = math.Sqrt(max(low, high/4) * high)
		}
	}
	if best == nil {
		return result, fmt.Errorf("%s: not even %d deliveries per second", name, o.Start)
	}
	result.add("most deliveries", "/s", best.rate)
	if len(r.Target.PIDs) > 0 {
		result.add("CPU per 1,000 deliveries", "ms", best.cpu.Seconds()*1e6/float64(best.board.measured))
	}
	result.Values = append(result.Values, latency("latency", best.board.same)...)
	result.Values = append(result.Values, latency("latency across nodes", best.board.across)...)
	result.add("deliveries per frame", "", best.perFrame)
	result.Faults = best.faults
	return result, nil
}

func p99(t *typing) int64 {
	return max(t.board.same.ValueAtQuantile(99), t.board.across.ValueAtQuantile(99))
}

func keepsUp(t *typing, rate float64, limit time.Duration) bool {
	return !t.faults.Any() && !t.gaveUp && t.rate >= 0.97*rate && time.Duration(p99(t))*time.Microsecond < limit
}
