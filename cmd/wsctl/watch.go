package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
)

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
	if f.interval < 100*time.Millisecond {
		return wrongFlag("interval", "%s: expected at least 100ms", f.interval)
	}
	terminal := isTerminal(c.out)
	for first := true; ; first = false {
		switch {
		case terminal:
			fmt.Fprint(c.out, clearScreen)
		case !first && c.output != "json":
			fmt.Fprintln(c.out)
		}
		if err := list(); err != nil {
			return err
		}
		if !pause(ctx, f.interval) {
			return context.Canceled
		}
	}
}

// clearScreen moves to the upper left corner of a terminal and clears it.
const clearScreen = "\x1b[H\x1b[2J"

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// pause waits, and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
