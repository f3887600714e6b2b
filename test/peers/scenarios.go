package main

import (
	"context"
	"time"

	"github.com/wsnode/wsnode/clients/load"
)

// A scenario is measured against every server, or against those with one node only.
type scenario struct {
	name  string
	nodes bool // several nodes too
	run   func(context.Context, *load.Runner) ([]load.Result, error)
}

// scenarios are those of the comparison; quick ones are shorter.
func scenarios(quick bool) []scenario {
	warmup, measured, step := 5*time.Second, 15*time.Second, 3*time.Second
	connections, joins, settle := 5000, 1000, 8*time.Second
	if quick {
		warmup, measured, step = 2*time.Second, 5*time.Second, 2*time.Second
		connections, joins, settle = 2000, 200, 3*time.Second
	}
	fanout := func(name string, docs, clients, rate int) scenario {
		return scenario{name, true, one(func(ctx context.Context, r *load.Runner) (load.Result, error) {
			return r.Fanout(ctx, name, load.FanoutOptions{Docs: docs, Clients: clients, Rate: rate, Warmup: warmup, Duration: measured})
		})}
	}
	saturation := func(name string, docs, clients int) scenario {
		return scenario{name, true, one(func(ctx context.Context, r *load.Runner) (load.Result, error) {
			return r.Saturation(ctx, name, load.SaturationOptions{Docs: docs, Clients: clients, Start: 40_000, Step: step, P99: 250 * time.Millisecond})
		})}
	}
	idle := func(name string, perDoc int) scenario {
		return scenario{name, false, one(func(ctx context.Context, r *load.Runner) (load.Result, error) {
			return r.Idle(ctx, name, load.IdleOptions{Connections: connections, PerDoc: perDoc, Settle: settle})
		})}
	}
	storm := func(name string, clients int) scenario {
		return scenario{name, true, one(func(ctx context.Context, r *load.Runner) (load.Result, error) {
			return r.Storm(ctx, name, load.StormOptions{Docs: clients / 10, Clients: 10, Typed: 50, Rounds: 3})
		})}
	}
	return []scenario{
		fanout("fanout-18k", 20, 10, 18_000),
		fanout("hot-20k", 1, 200, 20_000),
		fanout("fanout-3.6k", 20, 10, 3_600),
		saturation("saturation-hot", 1, 200),
		saturation("saturation-fanout", 20, 10),
		idle("idle-1", 1),
		idle("idle-10", 10),
		{"join", false, func(ctx context.Context, r *load.Runner) ([]load.Result, error) {
			return r.Join(ctx, "join", load.JoinOptions{Edits: 100_000, Deletes: 0.2, Writers: 3,
				Joins: joins, Spaced: 100, Pause: 20 * time.Millisecond})
		}},
		storm("storm-2k", 2000),
		{"awareness", true, one(func(ctx context.Context, r *load.Runner) (load.Result, error) {
			return r.Awareness(ctx, "awareness", load.AwarenessOptions{Docs: 20, Clients: 10, Rate: 200, Warmup: warmup, Duration: measured})
		})},
	}
}

// one makes a list of a single result.
func one(f func(context.Context, *load.Runner) (load.Result, error)) func(context.Context, *load.Runner) ([]load.Result, error) {
	return func(ctx context.Context, r *load.Runner) ([]load.Result, error) {
		result, err := f(ctx, r)
		if err != nil {
			return nil, err
		}
		return []load.Result{result}, nil
	}
}
