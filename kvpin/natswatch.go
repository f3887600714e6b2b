package kvpin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// A consumer that is silent for three heartbeats is gone: its server died, or the
// bucket was deleted.
const (
	watchHeartbeat = 2 * time.Second
	watchSilence   = 3 * watchHeartbeat
)

// flowAhead is how many bytes a server sends ahead of what flow control confirmed.
const flowAhead = 32 << 20

var errConsumerLost = errors.New("lost track of the consumer")

// Watch keeps one push consumer over the filters. Whatever interrupts it, a lost
// message, a server that goes, a bucket that is deleted or restored, it begins
// again from the last values: levels, not edges.
func (s *natsStore) Watch(ctx context.Context, filters []string, handle func(change)) {
	known := make(map[string]struct{}) // keys that were last reported as present
	for ctx.Err() == nil {
		current := make(map[string]struct{})
		err := s.consume(ctx, filters, func(c change) error {
			switch {
			case c.Synced:
				for key := range known {
					if _, still := current[key]; !still {
						handle(change{entry: entry{Key: key}})
					}
				}
				known = current
			case c.Present:
				current[c.Key] = struct{}{}
			default:
				delete(current, c.Key)
			}
			handle(c)
			return nil
		})
		// Keys reported before an interrupted start are known as well.
		for key := range current {
			known[key] = struct{}{}
		}
		if err != nil && ctx.Err() == nil {
			pause(ctx, 200*time.Millisecond, 500*time.Millisecond)
		}
	}
}

// errScanned ends a scan.
var errScanned = errors.New("scanned")

func (s *natsStore) Scan(ctx context.Context, filter string, handle func(entry) error) error {
	err := s.consume(ctx, []string{filter}, func(c change) error {
		if c.Synced {
			return errScanned
		}
		return handle(c.entry)
	})
	if errors.Is(err, errScanned) {
		return nil
	}
	return err
}

// consume runs one consumer until ctx ends, handle fails or track of it is lost.
func (s *natsStore) consume(ctx context.Context, filters []string, handle func(change) error) error {
	nc := s.link.conn.NATS()
	inbox := nc.NewInbox()
	messages, done := make(chan *nats.Msg, 256), make(chan struct{})
	defer close(done)
	// Not SubscribeSync: it holds 65,536 messages and drops the rest, while flow
	// control lets the server send ahead 32 MiB, which are more of ours.
	sub, err := nc.Subscribe(inbox, func(m *nats.Msg) {
		select {
		case messages <- m:
		case <-done:
		}
	})
	if err == nil {
		err = sub.SetPendingLimits(-1, 2*flowAhead)
	}
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	name, pending, err := s.createConsumer(ctx, inbox, filters)
	if err != nil {
		return err
	}
	defer s.deleteConsumer(name)
	if pending == 0 {
		if err := handle(change{Synced: true}); err != nil {
			return err
		}
	}
	synced := pending == 0
	var sequence uint64 // of the consumer
	silence := time.NewTimer(watchSilence)
	defer silence.Stop()
	for {
		var m *nats.Msg
		silence.Reset(watchSilence)
		select {
		case m = <-messages:
		case <-ctx.Done():
			return unavailable(ctx.Err())
		case <-silence.C:
			return fmt.Errorf("%w: %w", ErrUnavailable, errConsumerLost)
		}
		if status := m.Header.Get("Status"); status != "" {
			if err := heartbeat(m, status, sequence); err != nil {
				return err
			}
			continue
		}
		meta, err := m.Metadata()
		if err != nil || meta.Sequence.Consumer != sequence+1 {
			return fmt.Errorf("%w: %w", ErrUnavailable, errConsumerLost)
		}
		sequence++
		key, ok := s.key(m.Subject)
		if !ok {
			continue
		}
		e := entry{Key: key, Value: m.Data, Revision: meta.Sequence.Stream, Present: !isMarker(m.Header), Written: meta.Timestamp}
		if err := handle(change{entry: e}); err != nil {
			return err
		}
		if !synced && meta.NumPending == 0 {
			synced = true
			if err := handle(change{Synced: true}); err != nil {
				return err
			}
		}
	}
}

// heartbeat handles what a consumer says about itself: flow control wants an
// answer, and a heartbeat names the last message it sent.
func heartbeat(m *nats.Msg, status string, sequence uint64) error {
	if status != "100" {
		return fmt.Errorf("%w: consumer ended with status %s", ErrUnavailable, status)
	}
	if m.Reply != "" {
		return m.Respond(nil)
	}
	if stalled := m.Header.Get("Nats-Consumer-Stalled"); stalled != "" {
		m.Reply = stalled
		return m.Respond(nil)
	}
	if last := m.Header.Get("Nats-Last-Consumer"); last != "" {
		if n, err := strconv.ParseUint(last, 10, 64); err != nil || n != sequence {
			return fmt.Errorf("%w: %w", ErrUnavailable, errConsumerLost)
		}
	}
	return nil
}

func (s *natsStore) createConsumer(ctx context.Context, inbox string, filters []string) (name string, pending uint64, err error) {
	subjects := make([]string, len(filters))
	for i, f := range filters {
		subjects[i] = s.base + f
	}
	request, err := json.Marshal(map[string]any{
		"stream_name": s.stream,
		"config": map[string]any{
			"deliver_policy":     "last_per_subject",
			"ack_policy":         "none",
			"max_deliver":        1,
			"replay_policy":      "instant",
			"deliver_subject":    inbox,
			"flow_control":       true,
			"idle_heartbeat":     watchHeartbeat,
			"filter_subjects":    subjects,
			"mem_storage":        true,
			"num_replicas":       1,
			"inactive_threshold": watchSilence,
		},
	})
	if err != nil {
		return "", 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	reply, err := s.link.request(ctx, &nats.Msg{Subject: s.api + "CONSUMER.CREATE." + s.stream, Data: request})
	if err != nil {
		return "", 0, unavailable(err)
	}
	var answer struct {
		Error   *apiError `json:"error"`
		Name    string    `json:"name"`
		Pending uint64    `json:"num_pending"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return "", 0, fmt.Errorf("%w: answer about a consumer: %w", ErrUnavailable, err)
	}
	if answer.Error != nil {
		return "", 0, fmt.Errorf("%w: create consumer: %w", ErrUnavailable, answer.Error)
	}
	return answer.Name, answer.Pending, nil
}

// deleteConsumer does not wait: the server forgets a consumer without interest by
// itself, only later.
func (s *natsStore) deleteConsumer(name string) {
	_ = s.link.conn.NATS().Publish(s.api+"CONSUMER.DELETE."+s.stream+"."+name, nil)
}
