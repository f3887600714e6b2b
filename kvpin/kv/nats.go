package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Header names of NATS ADR-8 (key-value), ADR-43 (per-message TTL) and ADR-48
// (markers).
const (
	headerExpect    = "Nats-Expected-Last-Subject-Sequence"
	headerTTL       = "Nats-TTL"
	headerOperation = "KV-Operation"
	headerMarker    = "Nats-Marker-Reason"
)

// Error codes of the JetStream API.
const (
	codeNoMessage         = 10037
	codeNoStream          = 10059
	codeWrongSequence     = 10071
	codeSequenceInFlight  = 10164 // another write on the subject is being replicated
	codeNoTTL             = 10166
	codeMessageTooLarge   = 10054
	codeStreamStoreFailed = 10077
)

// NATSStore is a bucket on a NATS connection. Reads go to the stream's leader and
// writes are published once: the client library's own helpers read from any
// replica and publish again after a failure.
type NATSStore struct {
	link   *Link
	stream string
	api    string // "$JS.API." or "$JS.<domain>.API."
	base   string // subject of a key for reading and watching: base + key
	write  string // subject of a key for writing
}

// Bucket is the bucket of a name, in a JetStream domain or in none.
func (l *Link) Bucket(name, domain string) *NATSStore {
	s := &NATSStore{link: l, stream: StreamName(name), api: "$JS.API."}
	s.base = "$KV." + name + "."
	s.write = s.base
	if domain != "" {
		s.api = "$JS." + domain + ".API."
		s.write = s.api + s.base
	}
	return s
}

// StreamName is the name of the JetStream stream below a bucket.
func StreamName(bucket string) string { return "KV_" + bucket }

// Conn is the connection as it is now. It must not be closed.
func (s *NATSStore) Conn() *nats.Conn { return s.link.conn.NATS() }

// Incarnation implements Store.
func (s *NATSStore) Incarnation() uint64 { return s.link.conn.Incarnation() }

// Get implements Store.
func (s *NATSStore) Get(ctx context.Context, key string) (Entry, error) {
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	request, err := json.Marshal(map[string]string{"last_by_subj": s.base + key})
	if err != nil {
		return Entry{}, err
	}
	reply, err := s.link.request(ctx, &nats.Msg{Subject: s.api + "STREAM.MSG.GET." + s.stream, Data: request})
	if err != nil {
		return Entry{}, unavailable(err)
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return Entry{}, fmt.Errorf("%w: answer to a read: %w", ErrUnavailable, err)
	}
	if e := answer.Error; e != nil {
		switch e.ErrorCode {
		case codeNoMessage:
			return Entry{Key: key}, nil
		case codeNoStream:
			return Entry{}, fmt.Errorf("%w: %w: %w", ErrUnavailable, ErrNoBucket, e)
		}
		return Entry{}, fmt.Errorf("%w: %w", ErrUnavailable, e)
	}
	m := &answer.Message
	e := Entry{Key: key, Value: m.Data, Revision: m.Seq, Present: true, Written: m.Time}
	if len(m.Header) > 0 {
		header, err := nats.DecodeHeadersMsg(m.Header)
		if err != nil {
			return Entry{}, fmt.Errorf("%w: header of %s: %w", ErrUnavailable, key, err)
		}
		e.Present = !isMarker(header)
	}
	return e, nil
}

// Now asks for the time with the stream's description, which its leader gives.
func (s *NATSStore) Now(ctx context.Context) (time.Time, error) {
	reply, err := s.link.request(ctx, &nats.Msg{Subject: s.api + "STREAM.INFO." + s.stream})
	if err != nil {
		return time.Time{}, unavailable(err)
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
		Now   time.Time           `json:"ts"`
	}
	err = json.Unmarshal(reply.Data, &answer)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("%w: answer about the stream: %w", ErrUnavailable, err)
	case answer.Error != nil:
		return time.Time{}, fmt.Errorf("%w: %w", ErrUnavailable, answer.Error)
	case answer.Now.IsZero():
		return time.Time{}, fmt.Errorf("%w: the server does not tell its time", ErrUnavailable)
	}
	return answer.Now, nil
}

func isMarker(h nats.Header) bool {
	op := h.Get(headerOperation)
	return op == "DEL" || op == "PURGE" || h.Get(headerMarker) != ""
}

// Put implements Store.
func (s *NATSStore) Put(ctx context.Context, key string, value []byte, expect uint64, ttl time.Duration) (uint64, error) {
	header := nats.Header{headerExpect: {strconv.FormatUint(expect, 10)}}
	if ttl > 0 {
		header[headerTTL] = []string{strconv.FormatInt(int64(ttl/time.Second), 10)}
	}
	return s.publish(ctx, key, header, value)
}

// Delete implements Store.
func (s *NATSStore) Delete(ctx context.Context, key string, expect uint64) error {
	_, err := s.publish(ctx, key, nats.Header{
		headerExpect:    {strconv.FormatUint(expect, 10)},
		headerOperation: {"PURGE"},
		"Nats-Rollup":   {"sub"},
		headerTTL:       {strconv.Itoa(int(MarkerTTL / time.Second))},
	}, nil)
	return err
}

func (s *NATSStore) publish(ctx context.Context, key string, header nats.Header, value []byte) (uint64, error) {
	reply, err := s.link.request(ctx, &nats.Msg{Subject: s.write + key, Header: header, Data: value})
	if err != nil {
		return 0, unsettled(err)
	}
	var ack struct {
		Error *jetstream.APIError `json:"error"`
		Seq   uint64              `json:"seq"`
	}
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return 0, fmt.Errorf("%w: answer to a write: %w", ErrUnsettled, err)
	}
	switch e := ack.Error; {
	case e == nil:
		return ack.Seq, nil
	case e.ErrorCode == codeWrongSequence, e.ErrorCode == codeSequenceInFlight:
		return 0, fmt.Errorf("%w: %w", ErrConflict, e)
	case e.ErrorCode == codeNoTTL, e.ErrorCode == codeMessageTooLarge, e.ErrorCode == codeStreamStoreFailed:
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, e)
	default: // refused or not: better to look again than to guess
		return 0, fmt.Errorf("%w: %w", ErrUnsettled, e)
	}
}

// unavailable wraps what kept a request from being answered.
func unavailable(err error) error {
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("%w: %w", ErrUnavailable, ErrNoBucket)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// unsettled is unavailable for writes: only what surely never left, or reached
// nobody, counts as not written.
func unsettled(err error) error {
	for _, never := range []error{nats.ErrNoResponders, errNotConnected, nats.ErrMaxPayload, nats.ErrHeadersNotSupported, nats.ErrBadSubject} {
		if errors.Is(err, never) {
			return unavailable(err)
		}
	}
	return fmt.Errorf("%w: %w", ErrUnsettled, err)
}

// key is the inverse of base + key.
func (s *NATSStore) key(subject string) (string, bool) {
	return strings.CutPrefix(subject, s.base)
}
