package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/internal/pause"
)

// minInterval is how often the nodes may be asked.
const minInterval = 100 * time.Millisecond

// watchFlags are what listings have.
type watchFlags struct {
	watch    bool
	interval time.Duration
}

func (f *watchFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "list again and again, until Ctrl-C")
	cmd.Flags().DurationVar(&f.interval, "interval", 2*time.Second, "how often, with --watch")
}

// repeat runs list once, or again and again. On a terminal each time takes the
// place of the one before.
func (c *cli) repeat(ctx context.Context, f *watchFlags, list func() error) error {
	if !f.watch {
		return list()
	}
	terminal, first := isTerminal(c.out), true
	return c.again(ctx, f.interval, terminal, func() error {
		switch {
		case terminal:
			fmt.Fprint(c.out, clearScreen)
		case !first && c.output != "json":
			fmt.Fprintln(c.out)
		}
		first = false
		return list()
	})
}

// listNodes prints what the nodes of these names say, of all without names, once or again
// and again.
func listNodes[T any](ctx context.Context, c *cli, w *watchFlags, names []string, columns []column[T], rows func([]node) iter.Seq2[T, error]) error {
	return c.withFleet(func(fl *fleet) error {
		return c.repeat(ctx, w, func() error {
			nodes, err := fl.some(ctx, names)
			if len(nodes) == 0 {
				return err
			}
			return errors.Join(err, printRows(c, columns, rows(nodes)))
		})
	})
}

// inMemory are rows that were collected, and what went wrong with others.
func inMemory[T any](rows []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

// clearScreen moves to the upper left corner of a terminal and clears it.
const clearScreen = "\x1b[H\x1b[2J"

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// errWatchEnded says that Ctrl-C ended a watch, which is how it ends. Whatever else is
// interrupted has failed.
var errWatchEnded = errors.New("the watch was ended")

// watchError is the error of a watch, whatever Ctrl-C met it at.
func watchError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errWatchEnded
	}
	return err
}

// closedError says that nobody reads what is printed any more.
type closedError struct{ error }

// follow asks the nodes again and again until ctx ends.
func (c *cli) follow(ctx context.Context, fl *fleet, names []string, interval time.Duration, look func(node) error) error {
	return c.again(ctx, interval, false, func() error {
		nodes, err := fl.some(ctx, names)
		for _, n := range nodes {
			err = errors.Join(err, look(n))
		}
		return err
	})
}

// again looks again and again until ctx ends. What goes wrong is said, at each change
// or each time, and does not end it: an operator who watches wants to see the nodes
// come back.
func (c *cli) again(ctx context.Context, interval time.Duration, eachTime bool, look func() error) error {
	if interval < minInterval {
		return wrongFlag("interval", "%s: expected at least %s", interval, minInterval)
	}
	said := ""
	for {
		err := c.reach.denied.explain(look())
		switch {
		case ctx.Err() != nil:
			return errWatchEnded
		case err == nil:
			said = ""
		case errors.As(err, new(closedError)), exitCode(err) == exitUsage:
			return err
		case eachTime || errorText(err) != said:
			said = errorText(err)
			c.done("wsctl: %s", said)
		}
		if !pause.For(ctx, interval) {
			return errWatchEnded
		}
	}
}

// ticker calls do at once and then again and again, until it returns false or ctx ends.
func ticker(ctx context.Context, every time.Duration, do func() bool) {
	t := time.NewTicker(every)
	defer t.Stop()
	for do() {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
