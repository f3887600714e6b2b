package history

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// Lives are the two histories of a region that has a store: of plain lives and of stored
// ones. A subject says whose it is.
type Lives struct{ Plain, Stored *History }

// Check refuses histories with different numbers of shards, since a document is looked
// for in one of them.
func (l Lives) Check() error {
	if plain, stored := l.Plain.Shards(), l.Stored.Shards(); plain != stored {
		return fmt.Errorf("the history has %d shards for documents without a store and %d for those with one: expected as many", plain, stored)
	}
	return nil
}

func (l Lives) of(subject string) *History {
	if strings.HasPrefix(subject, docid.StoredPrefix) {
		return l.Stored
	}
	return l.Plain
}

// Append is History.Append.
func (l Lives) Append(subject string, data []byte, done func(seq uint64, err error)) error {
	return l.of(subject).Append(subject, data, done)
}

// AppendAfter is History.AppendAfter.
func (l Lives) AppendAfter(ctx context.Context, subject string, data []byte, last uint64, ttl time.Duration) (seq uint64, err error) {
	return l.of(subject).AppendAfter(ctx, subject, data, last, ttl)
}

// LoadFrom is History.LoadFrom.
func (l Lives) LoadFrom(ctx context.Context, subject string, from uint64, each func(seq uint64, data []byte) error) (last uint64, err error) {
	return l.of(subject).LoadFrom(ctx, subject, from, each)
}

// Last is History.Last.
func (l Lives) Last(ctx context.Context, subject string) (seq uint64, err error) {
	return l.of(subject).Last(ctx, subject)
}

// PurgeBelow is History.PurgeBelow.
func (l Lives) PurgeBelow(ctx context.Context, subject string, seq uint64) error {
	return l.of(subject).PurgeBelow(ctx, subject, seq)
}

// Subjects is History.Subjects of plain lives.
func (l Lives) Subjects(ctx context.Context, filter string) iter.Seq2[Subject, error] {
	return l.Plain.Subjects(ctx, filter)
}

// StoredSubjects is History.Subjects of stored ones.
func (l Lives) StoredSubjects(ctx context.Context, filter string) iter.Seq2[Subject, error] {
	return l.Stored.Subjects(ctx, filter)
}

// StoredSubjects are none: a plain history has no stored lives.
func (h *History) StoredSubjects(context.Context, string) iter.Seq2[Subject, error] {
	return func(func(Subject, error) bool) {}
}

// Shard is History.Shard.
func (l Lives) Shard(key string) int { return l.Plain.Shard(key) }

// MaxPayload is History.MaxPayload.
func (l Lives) MaxPayload() int { return l.Plain.MaxPayload() }
