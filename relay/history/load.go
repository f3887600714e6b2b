package history

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/internal/pause"
)

// Bounds of reading. What is under way for one connection has to stay well under
// the 64 MiB after which a server drops it as too slow: many reads may begin at
// once with small pages, few may go on with large ones.
const (
	firstReads = 64
	firstBytes = 256 << 10
	longReads  = 6
	longBytes  = 4 << 20
	pageSize   = 1024 // messages
)

// LoadFrom calls each for every message of the subject from a sequence on, 1 or more, in
// order, and returns the last one's sequence; the one before from if there are none. data
// may be kept, but not changed. Any replica answers; what is missing on it is read on up to
// what the stream's leader has after it, so everything that was stored before LoadFrom was
// called is read, and some of what was stored since. It does not run after writers. It tries
// on until ctx ends: ErrUnavailable then; ErrStreamMissing at once. An error of each ends it
// too.
func (h *History) LoadFrom(ctx context.Context, subject string, from uint64, each func(seq uint64, data []byte) error) (last uint64, err error) {
	shard, err := h.shardOf(subject)
	if err != nil {
		return from - 1, err
	}
	r := reader{h: h, stream: h.streamName(shard), subject: subject, each: each, last: from - 1, timeout: attemptTime}
	if err := r.run(ctx); err != nil {
		if errors.Is(err, ErrStreamMissing) {
			h.check.suspect(shard)
		}
		return r.last, fmt.Errorf("load %s: %w", subject, err)
	}
	return r.last, nil
}

// reader is one reading.
type reader struct {
	h       *History
	stream  string
	subject string
	each    func(seq uint64, data []byte) error

	last    uint64 // the last sequence that each was called with, at first the one before the first to read
	long    bool   // whether the first page was not enough
	timeout time.Duration

	// A reader must not run after writers who are faster. What the leader had when
	// the first page turned out not to be enough bounds the paging; what it had when
	// it was asked for the fence bounds all of it.
	bound, goal uint64 // sequences; 0: not fixed yet
}

// errSilence is an ErrUnavailable for want of any answer.
var errSilence = fmt.Errorf("%w: no answer", ErrUnavailable)

// eachError tells an error of the caller's from those of reading.
type eachError struct{ error }

func (r *reader) run(ctx context.Context) error {
	for wait := time.Millisecond; ; {
		progress, done, err := r.step(ctx)
		var own eachError
		switch {
		case errors.As(err, &own):
			return own.error
		case ctx.Err() != nil && err != nil:
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		case errors.Is(err, ErrUnavailable), err == nil && !done && !progress:
			// A thousand pods may have met the same trouble in the same moment.
			if !pause.Between(ctx, wait/2, 3*wait/2) {
				return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
			}
			wait = min(2*wait, 250*time.Millisecond)
			if errors.Is(err, errSilence) {
				r.timeout = min(2*r.timeout, attemptMax)
			}
		case err != nil, done:
			return err
		default:
			wait = time.Millisecond
		}
	}
}

// step reads as far as a replica has the subject, then asks the leader.
func (r *reader) step(ctx context.Context) (progress, done bool, err error) {
	before := r.last
	for more := true; more && !r.paged(); {
		if more, err = r.page(ctx); err != nil {
			return r.last > before, false, err
		}
		if more && r.bound == 0 {
			if r.bound, err = r.h.Last(ctx, r.subject); err != nil {
				return r.last > before, false, err
			}
		}
	}
	if !r.arrived() {
		done, err = r.fence(ctx)
	}
	return r.last > before, done || r.arrived(), err
}

// paged reports whether it is the leader's turn.
func (r *reader) paged() bool {
	return r.arrived() || r.goal == 0 && r.bound > 0 && r.last >= r.bound
}

func (r *reader) arrived() bool { return r.goal > 0 && r.last >= r.goal }

// page reads one page from any replica and reports whether there are more.
func (r *reader) page(ctx context.Context) (more bool, err error) {
	slots, bytes := r.h.first, firstBytes
	if r.long {
		slots, bytes = r.h.long, longBytes
	}
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	messages, err := r.request(ctx, bytes)
	<-slots
	if err != nil {
		return false, err
	}
	return r.take(messages)
}

func (r *reader) request(ctx context.Context, bytes int) ([]*nats.Msg, error) {
	c := r.h.inbox.open()
	defer c.close()
	request := make([]byte, 0, 128+len(r.subject))
	request = append(request, `{"seq":`...)
	request = strconv.AppendUint(request, r.last+1, 10)
	request = append(request, `,"next_by_subj":"`...)
	request = append(request, r.subject...) // a subject of ours needs no escapes
	request = append(request, `","batch":`...)
	request = strconv.AppendInt(request, pageSize, 10)
	request = append(request, `,"max_bytes":`...)
	request = strconv.AppendInt(request, int64(bytes), 10)
	request = append(request, '}')
	if err := r.h.publish(r.h.api+"DIRECT.GET."+r.stream, c.reply, request); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	messages, _, err := c.wait(ctx, r.timeout)
	return messages, err
}

// take hands on the messages of a page up to the first gap, which a lost message
// leaves: each message names the one before it.
func (r *reader) take(messages []*nats.Msg) (more bool, err error) {
	previous := uint64(0)
	for _, m := range messages {
		if status := m.Header.Get("Status"); status != "" {
			return r.end(m, status, previous)
		}
		seq, before := number(m, "Nats-Sequence"), number(m, "Nats-Last-Sequence")
		if before != previous || seq <= r.last {
			return false, fmt.Errorf("%w: a page is incomplete", ErrUnavailable)
		}
		previous = seq
		if err := r.pass(seq, m.Data); err != nil {
			return false, err
		}
	}
	return false, errSilence
}

func (r *reader) pass(seq uint64, data []byte) error {
	r.last = seq
	if err := r.each(seq, data); err != nil {
		return eachError{err}
	}
	return nil
}

// end reads the status message that ends a page.
func (r *reader) end(m *nats.Msg, status string, previous uint64) (more bool, err error) {
	switch status {
	case "204":
		if number(m, "Nats-Last-Sequence") != previous {
			return false, fmt.Errorf("%w: a page is incomplete", ErrUnavailable)
		}
		r.long = true
		return number(m, "Nats-Num-Pending") > 0, nil
	case "404": // no more messages here
		return false, nil
	case "503": // no replica listens; the leader knows why
		return false, nil
	}
	return false, &RefusedError{Code: int(number(m, "Status")), Description: m.Header.Get("Description")}
}

func number(m *nats.Msg, key string) uint64 {
	n, _ := strconv.ParseUint(m.Header.Get(key), 10, 64)
	return n
}

// fence asks the stream's leader for a message after the last one read. When
// there is one, a replica is behind; it is taken as it is, so that there is
// progress whatever the replicas do.
func (r *reader) fence(ctx context.Context) (done bool, err error) {
	seq, data, err := r.h.next(ctx, r.stream, r.subject, r.last+1, r.timeout)
	if err != nil || seq == 0 {
		return err == nil, err
	}
	if r.goal == 0 {
		if r.goal, err = r.h.Last(ctx, r.subject); err != nil {
			return false, err
		}
	}
	return false, r.pass(seq, data)
}

// next asks the leader for the subject's first message from a sequence on; 0 if
// there is none.
func (h *History) next(ctx context.Context, stream, subject string, from uint64, timeout time.Duration) (seq uint64, data []byte, err error) {
	return h.message(ctx, stream, fmt.Sprintf(`{"seq":%d,"next_by_subj":"%s","no_hdr":true}`, from, subject), timeout)
}

// message asks a stream's leader for a message; 0 if there is none. That is the usual answer
// for a document that begins to live, and it is known without being decoded.
func (h *History) message(ctx context.Context, stream, request string, timeout time.Duration) (seq uint64, data []byte, err error) {
	raw, err := h.request(ctx, "STREAM.MSG.GET."+stream, request, timeout)
	if err != nil || bytes.Contains(raw, noMessage) {
		return 0, nil, err
	}
	var answer struct {
		Error   *jetstream.APIError
		Message struct {
			Seq  uint64
			Data []byte
		}
	}
	if err := decode(raw, &answer); err != nil {
		return 0, nil, err
	}
	if e := answer.Error; e != nil && e.ErrorCode != codeNoMessage {
		return 0, nil, typed(e)
	}
	return answer.Message.Seq, answer.Message.Data, nil
}

// noMessage stands in no other answer: quotes within strings are escaped.
var noMessage = []byte(`"err_code":` + strconv.Itoa(codeNoMessage) + `,`)

// ask sends one request to JetStream's API and decodes the answer.
func (h *History) ask(ctx context.Context, endpoint, request string, answer any, timeout time.Duration) error {
	data, err := h.request(ctx, endpoint, request, timeout)
	if err != nil {
		return err
	}
	return decode(data, answer)
}

func (h *History) request(ctx context.Context, endpoint, request string, timeout time.Duration) (answer []byte, err error) {
	c := h.inbox.open()
	defer c.close()
	if err := h.publish(h.api+endpoint, c.reply, []byte(request)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	messages, complete, err := c.wait(ctx, timeout)
	if err != nil {
		return nil, err
	}
	if !complete || messages[0].Header.Get("Status") == "503" {
		return nil, errSilence
	}
	return messages[0].Data, nil
}

func decode(data []byte, answer any) error {
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("read JetStream's answer: %w", err)
	}
	return nil
}

// typed is the error part of an answer of JetStream as an error of ours.
func typed(e *jetstream.APIError) error {
	switch e.ErrorCode {
	case codeNoStream:
		return ErrStreamMissing
	case codeStorageFull, codeNoResources, codeAccountLimits:
		return ErrFull
	case codeStoreFailed:
		if full(e.Description) {
			return ErrFull
		}
	case codeTooLarge:
		return ErrTooLarge
	case codeNotAvailable, codeTooFast:
		return ErrUnavailable
	}
	return &RefusedError{Code: int(e.ErrorCode), Description: e.Description}
}

// full recognises the store's own words for a limit, which have no code.
func full(description string) bool {
	switch description {
	case "maximum bytes exceeded", "maximum messages exceeded", "maximum messages per subject exceeded":
		return true
	}
	return false
}
