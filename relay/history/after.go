package history

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
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
	m := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(last, 10))
	if ttl > 0 {
		m.Header.Set(jetstream.MsgTTLHeader, ttl.String())
	}
	if seq, err = h.appendNow(ctx, m); err == nil {
		return seq, nil
	}
	refused := (*RefusedError)(nil)
	if errors.As(err, &refused) && (refused.Code == codeWrongLast || refused.Code == codeWrongLastUnknown) {
		err = ErrOutrun
	} else {
		h.check.suspect(shard)
	}
	return 0, fmt.Errorf("append to %s after %d: %w", subject, last, err)
}

// appendNow publishes a message and waits for its acknowledgement.
func (h *History) appendNow(ctx context.Context, m *nats.Msg) (seq uint64, err error) {
	c := h.inbox.open()
	defer c.close()
	c.ended = nil // what waits for another connection is sent on that, and answered there
	m.Reply = c.reply
	if err := h.jetStream().Conn().PublishMsg(m); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	answers, complete, err := c.wait(ctx, h.config.AckWait)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case !complete:
		return 0, errSilence
	}
	return parseAck(answers[0])
}
