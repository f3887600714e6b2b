package command

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/internal/pause"
)

// MinInterval is how often the nodes may be asked.
const MinInterval = 100 * time.Millisecond

// WatchFlags are what listings have.
type WatchFlags struct {
	Watch    bool
	interval time.Duration
}

// Register adds the flags.
func (f *WatchFlags) Register(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.Watch, "watch", "w", false, "list again and again, until Ctrl-C")
	cmd.Flags().DurationVar(&f.interval, "interval", 2*time.Second, "how often, with --watch")
}

// Repeat runs list once, or again and again. On a terminal each time takes the
// place of the one before.
func (f *WatchFlags) Repeat(ctx context.Context, c *Env, list func() error) error {
	if !f.Watch {
		return list()
	}
	terminal, first := console.IsTerminal(c.Out), true
	w := Watcher{Env: c, Interval: f.interval, eachTime: terminal}
	return w.run(ctx, func() error {
		switch {
		case terminal:
			fmt.Fprint(c.Out, console.ClearScreen)
		case !first && !c.JSON():
			fmt.Fprintln(c.Out)
		}
		first = false
		return list()
	})
}

// ListNodes prints what the nodes of these names say, of all without names, once or again
// and again.
func ListNodes[T any](ctx context.Context, c *Env, w *WatchFlags, names []string, columns []console.Column[T], rows func([]reach.NodeClient) iter.Seq2[T, error]) error {
	return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
		return w.Repeat(ctx, c, func() error {
			nodes, err := fl.Some(ctx, names)
			if len(nodes) == 0 {
				return err
			}
			return errors.Join(err, console.PrintRows(c.Console, columns, rows(nodes)))
		})
	})
}

// ErrWatchEnded says that Ctrl-C ended a watch, which is how it ends. Whatever else is
// interrupted has failed.
var ErrWatchEnded = errors.New("the watch was ended")

// WatchError is the error of a watch, whatever Ctrl-C met it at.
func WatchError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ErrWatchEnded
	}
	return err
}

// Watcher looks again and again until ctx ends. What goes wrong is said, at each change or
// each time, and does not end it: an operator who watches wants to see the nodes come
// back. Only a wrong usage ends it, and an output that nobody reads.
type Watcher struct {
	Env      *Env
	Interval time.Duration
	eachTime bool // say what goes wrong each time
}

func (w Watcher) run(ctx context.Context, look func() error) error {
	if w.Interval < MinInterval {
		return exit.WrongFlag("interval", "%s: expected at least %s", w.Interval, MinInterval)
	}
	said := ""
	for {
		err := w.Env.Clusters.Explain(look())
		switch {
		case ctx.Err() != nil:
			return ErrWatchEnded
		case err == nil:
			said = ""
		case console.IsClosed(err), exit.Code(err) == exit.Usage:
			return err
		case w.eachTime || exit.Text(err) != said:
			said = exit.Text(err)
			w.Env.Done("wsctl: %s", said)
		}
		if !pause.For(ctx, w.Interval) {
			return ErrWatchEnded
		}
	}
}

// Nodes looks at one node after the other.
func (w Watcher) Nodes(ctx context.Context, fl *reach.Fleet, names []string, look func(reach.NodeClient) error) error {
	return w.run(ctx, func() error {
		nodes, err := fl.Some(ctx, names)
		for _, n := range nodes {
			err = errors.Join(err, look(n))
		}
		return err
	})
}
