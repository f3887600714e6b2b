// Package bench puts servers under load.
package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/clients/load"
	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/token"
	"github.com/wsnode/wsnode/cmd/wsctl/web"
)

// A benchScenario is one way to put a server under load.
type benchScenario struct {
	name, about string
	run         func(context.Context, *load.Runner, *benchFlags) ([]load.Result, error)
}

// benchScenarios are in the order in which they are explained.
var benchScenarios = []benchScenario{
	{"fanout", "type in --docs documents with --clients each, --rate deliveries per second", benchFanout},
	{"hot", "type in one document with 200 clients, --rate deliveries per second", benchHot},
	{"saturation", "find the most deliveries per second in --docs documents with --clients each", benchSaturation},
	{"idle", "open --connections that do nothing, --clients to each document (needs --pid)", benchIdle},
	{"join", "join a document of --edits edits: cold, cached and warm", benchJoin},
	{"storm", "break --connections connections, --clients to each document, and let all come back at once", benchStorm},
	{"awareness", "move cursors in --docs documents with --clients each, --rate/90 a second", benchAwareness},
}

type benchFlags struct {
	target            load.Target
	protocol          string
	docs, clients     int
	rate, connections int
	edits             int
	warmup, duration  time.Duration
	quiet             bool
}

// Command makes the verb that puts a server under load.
func Command(c *command.Env) *cobra.Command {
	var f benchFlags
	var held token.Held // of every connection
	var trusted web.Authorities
	var names []string
	about := make([]string, 0, len(benchScenarios))
	for _, s := range benchScenarios {
		names = append(names, s.name)
		about = append(about, fmt.Sprintf("  %-11s %s", s.name, s.about))
	}
	cmd := &cobra.Command{
		Use:   "bench [scenario...]",
		Short: "Put a y-websocket or Hocuspocus server under load, and check every edit",
		Long: "Put a y-websocket or Hocuspocus server under load, and check every edit at every receiver.\n\nScenarios:\n" +
			strings.Join(about, "\n") + "\n\nThe exit code is 1 when an edit was lost or a text differs.",
		Example: "  wsctl bench fanout --token-url 'http://localhost:8080/dev/token?ttl={n}s'\n" +
			"  wsctl bench hot --url ws://127.0.0.1:8080 --url ws://127.0.0.1:8081 --pid $(pidof wsnode) --token-file token.jwt\n" +
			"  wsctl bench saturation --url ws://127.0.0.1:1234 --protocol hocuspocus",
		ValidArgs:    names,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := held.Get(cmd.Context(), c)
			if err != nil {
				return err
			}
			f.target.Token = token
			if f.target.Roots, err = trusted.Roots(); err != nil {
				return err
			}
			return bench(cmd.Context(), c, args, &f)
		},
	}
	held.Register(cmd)
	flags := cmd.Flags()
	trusted.Register(flags)
	flags.StringSliceVar(&f.target.URLs, "url", []string{"ws://127.0.0.1:8080"}, "server; several nodes: repeat it, clients are spread over them")
	flags.StringVar(&f.protocol, "protocol", string(load.YWebsocket), "what the server speaks: y-websocket or hocuspocus")
	flags.StringVar(&f.target.TokenURL, "token-url", "", "where to GET a token for each connection; {n} becomes a number that counts up from 10,000")
	flags.IntSliceVar(&f.target.PIDs, "pid", nil, "the server's processes on this machine, to measure CPU time and memory")
	flags.IntVar(&f.docs, "docs", 20, "documents")
	flags.IntVar(&f.clients, "clients", 10, "clients of each document")
	flags.IntVar(&f.rate, "rate", 18_000, "deliveries per second (edits times receivers); where the search for saturation begins")
	flags.IntVar(&f.connections, "connections", 2000, "connections of idle and storm")
	flags.IntVar(&f.edits, "edits", 100_000, "edits of the document that is joined")
	flags.DurationVar(&f.warmup, "warmup", 5*time.Second, "load before the clock runs")
	flags.DurationVar(&f.duration, "duration", 15*time.Second, "how long to measure")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	return cmd
}

func bench(ctx context.Context, c *command.Env, args []string, f *benchFlags) error {
	if len(args) == 0 {
		args = []string{"fanout"}
	}
	if err := f.check(args); err != nil {
		return err
	}
	f.target.Name = c.Conceal(strings.Join(f.target.URLs, " ")) // progress and results show it
	f.target.Protocol = load.Protocol(f.protocol)
	r := &load.Runner{Target: f.target}
	if !f.quiet {
		r.Progress = c.Err
	}
	if err := r.Open(); err != nil {
		return err
	}
	defer r.Close()
	var results []load.Result
	for _, name := range args {
		i := slices.IndexFunc(benchScenarios, func(s benchScenario) bool { return s.name == name })
		if i < 0 {
			return exit.With(exit.Usage, "no scenario %q: see wsctl bench --help", name)
		}
		some, err := benchScenarios[i].run(ctx, r, f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.target.Name, err)
		}
		results = append(results, some...)
	}
	write := load.WriteTable
	if c.JSON() {
		write = func(w io.Writer, results []load.Result) error { return console.WriteJSON(w, "", results, "\n") }
	}
	if err := write(c.Out, results); err != nil {
		return err
	}
	for _, result := range results {
		if result.Faults.Any() {
			return fmt.Errorf("%s: %s", result.Scenario, result.Faults)
		}
	}
	return nil
}

func (f *benchFlags) check(scenarios []string) error {
	if f.docs < 1 || f.clients < 1 || f.rate < 1 || f.connections < f.clients || f.duration < time.Second {
		return exit.With(exit.Usage, "bench: expected at least 1 document, 1 client of each, 1 delivery per second, as many connections as clients of a document, and a second of time")
	}
	if f.clients < 2 && slices.ContainsFunc(scenarios, func(name string) bool { return name == "fanout" || name == "saturation" || name == "awareness" }) {
		return exit.With(exit.Usage, "bench: expected at least 2 clients of each document: a delivery needs somebody else")
	}
	if slices.Contains(scenarios, "idle") && len(f.target.PIDs) == 0 {
		return exit.WrongFlag("pid", "expected with idle: the server's processes")
	}
	if f.protocol != string(load.YWebsocket) && f.protocol != string(load.Hocuspocus) {
		return exit.WrongFlag("protocol", "%q: expected %s or %s", f.protocol, load.YWebsocket, load.Hocuspocus)
	}
	for _, u := range f.target.URLs {
		if _, err := web.ParseURL("url", u, "ws", "wss"); err != nil {
			return err
		}
	}
	return nil
}

func benchFanout(ctx context.Context, r *load.Runner, f *benchFlags) ([]load.Result, error) {
	result, err := r.Fanout(ctx, "fanout", load.FanoutOptions{Docs: f.docs, Clients: f.clients, Rate: f.rate, Warmup: f.warmup, Duration: f.duration})
	return []load.Result{result}, err
}

func benchHot(ctx context.Context, r *load.Runner, f *benchFlags) ([]load.Result, error) {
	result, err := r.Fanout(ctx, "hot", load.FanoutOptions{Docs: 1, Clients: 200, Rate: f.rate, Warmup: f.warmup, Duration: f.duration})
	return []load.Result{result}, err
}

func benchSaturation(ctx context.Context, r *load.Runner, f *benchFlags) ([]load.Result, error) {
	result, err := r.Saturation(ctx, "saturation", load.SaturationOptions{Docs: f.docs, Clients: f.clients, Start: f.rate,
		Step: 5 * time.Second, P99: 250 * time.Millisecond})
	return []load.Result{result}, err
}

func benchIdle(ctx context.Context, r *load.Runner, f *benchFlags) ([]load.Result, error) {
	result, err := r.Idle(ctx, "idle", load.IdleOptions{Connections: f.connections, PerDoc: f.clients, Settle: f.warmup})
	return []load.Result{result}, err
}

func benchJoin(ctx context.Context, r *load.Runner, f *benchFlags) ([]load.Result, error) {
	return r.Join(ctx, "join", load.JoinOptions{Edits: f.edits, Deletes: 0.2, Writers: 3, Joins: 100})
}

func benchStorm(ctx context.Context, r *load.Runner, f *benchFlags) ([]load.Result, error) {
	result, err := r.Storm(ctx, "storm", load.StormOptions{Docs: f.connections / f.clients, Clients: f.clients, Typed: 50, Rounds: 3})
	return []load.Result{result}, err
}

// benchAwareness sends a cursor for every 90 deliveries that the rate asks for: people move cursors less than servers carry edits.
func benchAwareness(ctx context.Context, r *load.Runner, f *benchFlags) ([]load.Result, error) {
	result, err := r.Awareness(ctx, "awareness", load.AwarenessOptions{Docs: f.docs, Clients: f.clients, Rate: max(f.rate/90, 1),
		Warmup: f.warmup, Duration: f.duration})
	return []load.Result{result}, err
}
