package history

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wsnode/wsnode/internal/pause"

	"github.com/nats-io/nats.go/jetstream"
)

// PurgeBelow removes the subject's messages below seq; seq and what follows stay.
// It is safe to repeat, and safe when two pods do it at once.
func (h *History) PurgeBelow(ctx context.Context, subject string, seq uint64) error {
	shard, err := h.shardOf(subject)
	if err != nil {
		return err
	}
	if seq <= 1 {
		return nil
	}
	var answer struct{ Error *jetstream.APIError }
	request := fmt.Sprintf(`{"filter":"%s","seq":%d}`, subject, seq)
	err = h.retry(ctx, func() error {
		answer.Error = nil
		if err := h.ask(ctx, "STREAM.PURGE."+h.streamName(shard), request, &answer, purgeTime); err != nil {
			return err
		}
		if answer.Error != nil {
			return typed(answer.Error)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("purge %s below %d: %w", subject, seq, err)
	}
	return nil
}

// Last is the sequence of the subject's last message according to the stream's
// leader, 0 if there is none.
func (h *History) Last(ctx context.Context, subject string) (seq uint64, err error) {
	shard, err := h.shardOf(subject)
	if err != nil {
		return 0, err
	}
	request := fmt.Sprintf(`{"last_by_subj":"%s","no_hdr":true}`, subject)
	err = h.retry(ctx, func() (err error) {
		seq, _, err = h.message(ctx, h.streamName(shard), request, attemptTime)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("last of %s: %w", subject, err)
	}
	return seq, nil
}

// Drop removes everything that the subject holds when it is called. What is
// appended afterwards stays, even if the removal itself happens late: the purge
// is bounded by the sequence that the subject has now. Whoever drops because
// nobody has the document any more should call Last first, then make sure of
// that, then call PurgeBelow with what Last said plus one.
func (h *History) Drop(ctx context.Context, subject string) error {
	last, err := h.Last(ctx, subject)
	if errors.Is(err, ErrStreamMissing) {
		return nil
	}
	if err != nil || last == 0 {
		return err
	}
	return h.PurgeBelow(ctx, subject, last+1)
}

// retry repeats a request while its outcome is ErrUnavailable, until ctx ends.
func (h *History) retry(ctx context.Context, request func() error) error {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		err := request()
		if ctx.Err() != nil && err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if !errors.Is(err, ErrUnavailable) {
			return err
		}
		if !pause.For(ctx, wait) {
			return err
		}
	}
}

// Subject is a subject that the history holds messages of.
type Subject struct {
	Name     string
	Messages uint64
}

// Subjects lists the subjects whose names match the NATS filter, "" for all, for the sweep
// of what crashes left. A filter that names a shard asks that one's stream alone. It asks for
// 100,000 at a time and ends with the first error, but for ErrStreamMissing: the caller may
// go on with the shards behind the one whose stream is missing. Subjects that come or go
// meanwhile may be missed; a later sweep finds them.
func (h *History) Subjects(ctx context.Context, filter string) iter.Seq2[Subject, error] {
	return func(yield func(Subject, error) bool) {
		from, to, err := h.shardsOf(filter)
		if err != nil {
			yield(Subject{}, err)
			return
		}
		for shard := from; shard < to; shard++ {
			if !h.subjectsOf(ctx, shard, filter, yield) {
				return
			}
		}
	}
}

// shardsOf are those shards of which subjects may match a filter, up to but without to.
func (h *History) shardsOf(filter string) (from, to int, err error) {
	if filter == "" {
		return 0, h.shards, nil
	}
	rest, ours := strings.CutPrefix(filter, h.config.prefix())
	if !ours {
		return 0, 0, fmt.Errorf("%q is not a subject of this history", filter)
	}
	token, _, _ := strings.Cut(rest, ".")
	if shard, err := strconv.Atoi(token); err == nil && shard >= 0 && shard < h.shards {
		return shard, shard + 1, nil
	}
	return 0, h.shards, nil
}

// subjectsOf yields those of a shard, and reports whether the listing goes on. A filter is
// mostly one of a document of which there is nothing: the leader is asked for any message of
// it first, since its answer without one takes a fraction of what a list takes.
func (h *History) subjectsOf(ctx context.Context, shard int, filter string, yield func(Subject, error) bool) (goesOn bool) {
	if filter != "" {
		found, err := h.any(ctx, shard, filter)
		if err != nil {
			return yield(Subject{}, fmt.Errorf("look for subjects of %s: %w", h.streamName(shard), err)) && errors.Is(err, ErrStreamMissing)
		}
		if !found {
			return true
		}
	}
	for offset, more := 0, true; more; {
		page, total, err := h.subjectsPage(ctx, shard, filter, offset)
		if err != nil {
			return yield(Subject{}, fmt.Errorf("list subjects of %s: %w", h.streamName(shard), err)) && errors.Is(err, ErrStreamMissing)
		}
		for _, name := range slices.Sorted(maps.Keys(page)) {
			if !yield(Subject{name, page[name]}, nil) {
				return false
			}
		}
		offset += len(page)
		more = len(page) > 0 && offset < total
	}
	return true
}

// any reports whether the leader of a shard has a message whose subject matches the filter.
func (h *History) any(ctx context.Context, shard int, filter string) (found bool, err error) {
	err = h.retry(ctx, func() error {
		seq, _, err := h.next(ctx, h.streamName(shard), filter, 1, attemptTime)
		found = seq > 0
		return err
	})
	return found, err
}

func (h *History) subjectsPage(ctx context.Context, shard int, filter string, offset int) (page map[string]uint64, total int, err error) {
	if filter == "" {
		filter = ">"
	}
	var answer struct {
		Error *jetstream.APIError
		Total int
		State struct{ Subjects map[string]uint64 }
	}
	request := fmt.Sprintf(`{"subjects_filter":"%s","offset":%d}`, filter, offset)
	err = h.retry(ctx, func() error {
		answer.Error = nil
		if err := h.ask(ctx, "STREAM.INFO."+h.streamName(shard), request, &answer, listTime); err != nil {
			return err
		}
		if answer.Error != nil {
			return typed(answer.Error)
		}
		return nil
	})
	return answer.State.Subjects, answer.Total, err
}
