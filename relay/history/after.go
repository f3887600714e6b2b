package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrOutrun: the subject has got another message since the sequence that was expected
// to be its last. Nothing was stored; read on.
var ErrOutrun = errors.New("the subject has another last message")

// AppendAfter is an Append that is stored only if the subject's last sequence is last, 0
// for none, and that waits for the outcome. What is not stored reaches the pods that
// subscribe all the same. A ttl, for stored lives only, has the stream remove the message after it. Errors are
// ErrOutrun and those of Append; all but ErrOutrun leave open whether it is stored.
func (h *History) AppendAfter(ctx context.Context, subject string, data []byte, last uint64, ttl time.Duration) (seq uint64, err error) {
	shard, err := h.shardOf(subject)
	if err != nil {
		return 0, err
	}
	if len(data) > h.MaxPayload() {
		return 0, ErrTooLarge
	}
	ctx, cancel := context.WithTimeout(ctx, h.config.AckWait)
	defer cancel()
	opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(last), jetstream.WithRetryAttempts(0)}
	if ttl > 0 {
		opts = append(opts, jetstream.WithMsgTTL(ttl))
	}
	ack, err := h.jetStream().Publish(ctx, subject, data, opts...)
	var api *jetstream.APIError
	switch {
	case err == nil:
		return ack.Sequence, nil
	case errors.As(err, &api) && (api.ErrorCode == codeWrongLast || api.ErrorCode == codeWrongLastUnknown):
		return 0, fmt.Errorf("append to %s after %d: %w", subject, last, ErrOutrun)
	case errors.As(err, &api):
		err = typed(api)
	default:
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	h.check.suspect(shard)
	return 0, fmt.Errorf("append to %s after %d: %w", subject, last, err)
}
