package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Keys are listed by batched direct reads (NATS ADR-31), not by consumers: who may
// create a consumer says where its messages go, and may so publish what is stored
// to any subject of the account.

// Bounds of a page.
const (
	pageKeys  = 1024
	pageBytes = 1 << 20
	// pageSilence is how long a page may stay without a further message.
	pageSilence = 6 * time.Second
)

var errPageTorn = errors.New("a page is incomplete")

// page reads what a filter matches from a revision on, from any replica, and
// reports whether there is more behind it.
func (s *NATSStore) page(ctx context.Context, filter string, from uint64) (entries []Entry, more bool, err error) {
	request, err := json.Marshal(map[string]any{
		"seq": from, "next_by_subj": s.base + filter, "batch": pageKeys, "max_bytes": pageBytes,
	})
	if err != nil {
		return nil, false, err
	}
	sent := time.Now()
	q := newQuestion(pageKeys + 1)
	if err := s.link.ask(q, &nats.Msg{Subject: s.api + "DIRECT.GET." + s.stream, Data: request}); err != nil {
		return nil, false, unavailable(s.link.explain(sent, err))
	}
	defer q.forget()
	silence := time.NewTimer(pageSilence)
	defer silence.Stop()
	previous := uint64(0)
	for {
		var m *nats.Msg
		select {
		case m = <-q.came:
			silence.Reset(pageSilence)
		case <-ctx.Done():
			return nil, false, unavailable(s.link.explain(sent, ctx.Err()))
		case <-silence.C:
			return nil, false, unavailable(s.link.explain(sent, fmt.Errorf("list keys: %w", context.DeadlineExceeded)))
		}
		if status := m.Header.Get("Status"); status != "" {
			more, err := pageEnd(m, status, previous)
			return entries, more, err
		}
		e, before, err := s.stored(m)
		if err != nil || before != previous {
			return nil, false, fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(errPageTorn, err))
		}
		previous = e.Revision
		entries = append(entries, e)
	}
}

// pageEnd reads the message that ends a page.
func pageEnd(m *nats.Msg, status string, previous uint64) (more bool, err error) {
	switch status {
	case "204":
		if last, err := number(m, "Nats-Last-Sequence"); err != nil || last != previous {
			return false, fmt.Errorf("%w: %w", ErrUnavailable, errPageTorn)
		}
		pending, err := number(m, "Nats-Num-Pending")
		return err == nil && pending > 0, nil
	case "404": // nothing from there on
		return false, nil
	case "503":
		return false, unavailable(nats.ErrNoResponders)
	}
	return false, fmt.Errorf("%w: list keys: %s %s", ErrUnavailable, status, m.Header.Get("Description"))
}

// stored reads a message of a page: the entry, and the revision of the one before.
func (s *NATSStore) stored(m *nats.Msg) (e Entry, before uint64, err error) {
	revision, err1 := number(m, "Nats-Sequence")
	before, err2 := number(m, "Nats-Last-Sequence")
	written, err3 := time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	key, ours := s.key(m.Header.Get("Nats-Subject"))
	if err := errors.Join(err1, err2, err3); err != nil || !ours {
		return Entry{}, 0, fmt.Errorf("not an entry of the bucket: %w", err)
	}
	return Entry{Key: key, Value: m.Data, Revision: revision, Present: !isMarker(m.Header), Written: written}, before, nil
}

func number(m *nats.Msg, key string) (uint64, error) {
	return strconv.ParseUint(m.Header.Get(key), 10, 64)
}

// list calls handle for what a filter matches from a revision on, page by page.
func (s *NATSStore) list(ctx context.Context, filter string, from uint64, handle func(Entry) error) error {
	for {
		entries, more, err := s.page(ctx, filter, from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := handle(e); err != nil {
				return err
			}
			from = e.Revision + 1
		}
		if !more || len(entries) == 0 {
			return nil
		}
	}
}

// Scan implements Store.
func (s *NATSStore) Scan(ctx context.Context, filter string, handle func(Entry) error) error {
	return s.list(ctx, filter, 1, handle)
}

// leaderHas reports whether the bucket's leader has anything that a filter matches
// from a revision on.
func (s *NATSStore) leaderHas(ctx context.Context, filter string, from uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, pageSilence)
	defer cancel()
	request, err := json.Marshal(map[string]any{"seq": from, "next_by_subj": s.base + filter, "no_hdr": true})
	if err != nil {
		return false, err
	}
	reply, err := s.link.request(ctx, &nats.Msg{Subject: s.api + "STREAM.MSG.GET." + s.stream, Data: request})
	if err != nil {
		return false, unavailable(err)
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(reply.Data, &answer); {
	case err != nil:
		return false, fmt.Errorf("%w: answer to a read: %w", ErrUnavailable, err)
	case answer.Error == nil:
		return true, nil
	case answer.Error.ErrorCode == codeNoMessage:
		return false, nil
	}
	return false, fmt.Errorf("%w: %w", ErrUnavailable, answer.Error)
}
