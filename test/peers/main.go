// Command peers measures wsnode and the servers that people would pick instead,
// alternately in one run, and writes the comparison into docs/benchmarks.md.
//
// The servers are pinned to the first core and the load to the second. Every scenario
// starts each server anew; the order of the servers turns round from one round to the
// next, and the table shows medians and ranges.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"syscall"

	"github.com/wsnode/wsnode/clients/load"
)

func main() {
	var o options
	flag.StringVar(&o.directory, "peers", "test/peers", "directory of the peers' npm packages")
	flag.StringVar(&o.wsnode, "wsnode", "./wsnode", "wsnode binary")
	flag.StringVar(&o.scenarios, "scenarios", ".", "run scenarios whose name matches this regular expression")
	flag.StringVar(&o.contenders, "servers", ".", "run servers whose name matches this regular expression")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of every scenario")
	flag.BoolVar(&o.quick, "quick", false, "short runs, for trying things out")
	flag.StringVar(&o.markdown, "markdown", "", "write the table between the markers of this file")
	flag.StringVar(&o.json, "json", "", "write all results to this file")
	flag.StringVar(&o.merge, "merge", "", "take the results of scenarios and servers that are not run from this JSON file")
	flag.BoolVar(&o.pin, "pin", true, "pin the servers to core 0 and the load to core 1")
	nice := flag.Int("nice", 0, "run servers and load at this priority; -10 keeps the neighbours on a busy machine away, and needs root")
	flag.StringVar(&o.serverLog, "server-log", "", "append what the servers print to this file")
	flag.Parse()
	if o.pin && os.Getenv("BENCH_PINNED") == "" && runtime.NumCPU() > 1 {
		prioritise(*nice)
		pinSelf()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// prioritise sets the priority of this process and of all that it starts.
func prioritise(nice int) {
	if nice == 0 {
		return
	}
	err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, nice)
	// Linux shares time between sessions first, where autogroups are on.
	_ = os.WriteFile("/proc/self/autogroup", fmt.Append(nil, nice), 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers: cannot set the priority:", err)
	}
}

// pinSelf starts this program again on the second core. It returns only if that fails.
func pinSelf() {
	taskset, err := exec.LookPath("taskset")
	if err == nil {
		// Two Ps on the one core: the loop sleeps in epoll, and a P of its own saves it from being taken away.
		env := append(os.Environ(), "BENCH_PINNED=1", "GOMAXPROCS=2")
		err = syscall.Exec(taskset, append([]string{"taskset", "-c", "1"}, os.Args...), env)
	}
	fmt.Fprintln(os.Stderr, "peers: cannot pin:", err)
}

type options struct {
	directory, wsnode     string
	scenarios, contenders string
	rounds                int
	quick, pin            bool
	markdown, json, merge string
	serverLog             string
}

// A record is the result of one round.
type record struct {
	Round int `json:"round"`
	load.Result
}

func (o options) run(ctx context.Context) error {
	which, err := regexp.Compile(o.scenarios)
	if err != nil {
		return err
	}
	who, err := regexp.Compile(o.contenders)
	if err != nil {
		return err
	}
	var log io.Writer = io.Discard
	if o.serverLog != "" {
		f, err := os.OpenFile(o.serverLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		log = f
	}
	var records, kept []record
	if o.merge != "" {
		data, err := os.ReadFile(o.merge)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(data, &kept); err != nil {
			return fmt.Errorf("%s: %w", o.merge, err)
		}
	}
	for _, s := range scenarios(o.quick) {
		if !which.MatchString(s.name) {
			continue
		}
		for round := range o.rounds {
			order := slices.Clone(contenders)
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, c := range order {
				if !who.MatchString(c.name) || c.nodes > 1 && !s.nodes {
					continue
				}
				results, err := o.measure(ctx, s, c, log)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					fmt.Fprintf(os.Stderr, "%s: %v\n", c.name, err)
					results = append(results, load.Result{Scenario: s.name, Target: c.name, Notes: []string{err.Error()}})
				}
				load.WriteTable(os.Stdout, results)
				for _, r := range results {
					records = append(records, record{round + 1, r})
				}
				if err := o.save(records, kept); err != nil {
					return err
				}
			}
		}
	}
	records = merged(records, kept)
	if err := writeTable(os.Stdout, records); err != nil {
		return err
	}
	if o.markdown == "" {
		return nil
	}
	h := host{directory: o.directory}
	return writeMarkdown(o.markdown, records, h.versions(ctx))
}

// save writes what there is so far, so that an interrupted run is not lost.
func (o options) save(records, kept []record) error {
	if o.json == "" {
		return nil
	}
	data, err := json.MarshalIndent(merged(records, kept), "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, data, 0o644)
}

// merged adds to records what was kept of scenarios and servers that they lack.
func merged(records, kept []record) []record {
	all := slices.Clone(records)
	for _, k := range kept {
		if !slices.ContainsFunc(records, func(r record) bool { return r.Scenario == k.Scenario && r.Target == k.Target }) {
			all = append(all, k)
		}
	}
	return all
}

// measure runs one scenario against a server started for it.
func (o options) measure(ctx context.Context, s scenario, c contender, log io.Writer) ([]load.Result, error) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", s.name, c.name)
	directory, err := filepath.Abs(o.directory)
	if err != nil {
		return nil, err
	}
	wsnode, err := filepath.Abs(o.wsnode)
	if err != nil {
		return nil, err
	}
	h := &host{directory: directory, wsnode: wsnode, core: -1, log: log}
	if o.pin && runtime.NumCPU() >= 1 && os.Getenv("BENCH_PINNED") != "" {
		h.core = 0
	}
	h.target.Name = c.name
	defer h.stop()
	if err := c.start(h); err != nil {
		return nil, err
	}
	r := &load.Runner{Target: h.target, Progress: os.Stderr}
	if err := r.Open(); err != nil {
		return nil, err
	}
	defer r.Close()
	return s.run(ctx, r)
}
