package regions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
)

// evacuation is a region that is being evacuated.
type evacuation struct {
	c      *command.Env
	r      *reach.Registries
	nodes  []reach.NodeClient // that answer, of all regions
	region docid.Region
	to     []docid.Region
	began  time.Time

	mu     sync.Mutex // guards all below
	turn   int
	moving map[docid.Document]struct{}
	moved  int
	wait   map[docid.Document]*failedMove
	left   int // pins at the last look
	moves  sync.WaitGroup
}

// failedMove is a document that could not be moved.
type failedMove struct {
	times int
	why   string
	again time.Time
}

// pins are those of the region.
func (e *evacuation) pins(ctx context.Context) (all []kvpin.PinInfo, err error) {
	for info, err := range e.r.Pins(ctx, "", kvpin.PinFilter{Region: e.region}) {
		if err != nil {
			return nil, err
		}
		all = append(all, info)
	}
	return all, nil
}

// run moves documents until none is left, or nothing more can be done.
func (e *evacuation) run(ctx context.Context, pace float64) error {
	defer e.moves.Wait()
	moves, cancel := context.WithCancel(ctx)
	defer cancel()
	var err error
	failures := 0
	ticker(ctx, evacuateLook, func() bool {
		var pins []kvpin.PinInfo
		if pins, err = e.pins(ctx); err != nil {
			failures++
			return failures < evacuateTries && ctx.Err() == nil
		}
		failures = 0
		settled := time.Since(e.began) > 2*evacuateLook // every node has heard of the mark
		begun := e.begin(moves, pins, max(1, int(pace*evacuateLook.Seconds())))
		e.c.Done("%s", e.progress(len(pins)))
		return !settled || begun || e.busy() || e.expects(pins)
	})
	return err
}

// begin begins to move up to most documents. It reports whether any was to be moved.
func (e *evacuation) begin(ctx context.Context, pins []kvpin.PinInfo, most int) (any bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left = len(pins)
	for _, info := range pins {
		_, moving := e.moving[info.Document]
		failed := e.wait[info.Document]
		switch {
		case moving || info.State == kvpin.Grace: // it ends by itself
			continue
		case failed != nil && (failed.times >= evacuateTries || time.Now().Before(failed.again)):
			continue
		}
		any = true
		if most == 0 || len(e.moving) == movesAtOnce {
			break
		}
		most--
		e.moving[info.Document] = struct{}{}
		e.turn++
		turn := e.turn
		e.moves.Go(func() { e.move(ctx, info, turn) })
	}
	return any
}

// move moves one document, to the first region that it may go to.
func (e *evacuation) move(ctx context.Context, info kvpin.PinInfo, turn int) {
	var err error
	var refused *control.Error
	if n, found := reach.Mover(e.nodes, info, turn); !found {
		err = fmt.Errorf("no node of %s answers", e.region)
	} else {
		for i := range e.to {
			to := e.to[(turn+i)%len(e.to)]
			_, err = n.Move(ctx, n.Node, control.MoveRequest{Document: control.NewDocument(info.Document), To: to})
			if !errors.As(err, &refused) || refused.Code != control.CodeWrong {
				break
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.moving, info.Document)
	switch {
	case err == nil:
		e.moved++
		delete(e.wait, info.Document)
	case reach.IsNotFound(err): // it has ended
		delete(e.wait, info.Document)
	default:
		failed := e.wait[info.Document]
		if failed == nil {
			failed = new(failedMove)
			e.wait[info.Document] = failed
		}
		if failed.times++; errors.As(err, &refused) && refused.Code == control.CodeWrong {
			failed.times = evacuateTries // it stays so, until somebody changes that
		}
		failed.why, failed.again = exit.Text(err), time.Now().Add(time.Second<<failed.times)
	}
}

// busy reports whether documents are moving.
func (e *evacuation) busy() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.moving) > 0
}

// expects reports whether any of the pins may still go.
func (e *evacuation) expects(pins []kvpin.PinInfo) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(pins, func(info kvpin.PinInfo) bool {
		failed := e.wait[info.Document]
		return failed == nil || failed.times < evacuateTries
	})
}

func (e *evacuation) progress(left int) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	text := fmt.Sprintf("%3.0f s: %s moved, %d left", time.Since(e.began).Seconds(), console.Plural(e.moved, "document"), left)
	if n := len(e.moving); n > 0 {
		text += fmt.Sprintf(", %d on their way", n)
	}
	if n := len(e.wait); n > 0 {
		text += fmt.Sprintf(", %d could not be moved yet", n)
	}
	return text
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
