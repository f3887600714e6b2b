package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/natsconn"
)

// Append publishes data once to the subject, from where it reaches the pods that
// subscribe and the stream. It does not wait for the network. data must not be
// changed until done is called. Appends to one subject keep their order if they
// are not concurrent; large ones wait for each other where they are many.
//
// If it returns nil, done is called exactly once: with the sequence when JetStream
// has stored it, else with ErrFull, ErrTooLarge, ErrUnavailable (no answer within
// Config.AckWait, or no stream), ErrClosed, a *RefusedError, or the publisher's
// error. done is called from one goroutine for all appends and must not block; it
// may append. If Append returns an error, nothing was published and done is not
// called: ErrBusy, ErrTooLarge, ErrClosed, or the publisher's. done may be nil.
func (h *History) Append(subject string, data []byte, done func(seq uint64, err error)) error {
	shard, err := h.shardOf(subject)
	if err != nil {
		return err
	}
	if len(data) > h.MaxPayload() {
		return ErrTooLarge
	}
	if done == nil {
		done = func(uint64, error) {}
	}
	if len(data) >= paceSize || h.pace.holds.Load() > 0 {
		if taken, err := h.pace.add(held{subject, shard, data, done}); taken {
			return err
		}
	}
	return h.append(subject, shard, data, done)
}

// append is Append whose turn has come.
func (h *History) append(subject string, shard int, data []byte, done func(seq uint64, err error)) error {
	slot, reply, err := h.acks.reserve(shard, done)
	if err != nil {
		return err
	}
	if err := h.publish(subject, reply, data); err != nil && h.acks.cancel(slot, reply) {
		return err
	}
	return nil
}

// InFlight is how many appends wait for their acknowledgement or their turn.
func (h *History) InFlight() int { return h.acks.inFlight() + int(h.pace.holds.Load()) }

// acks are the appends under way. Each has a slot, and each slot a reply
// subject that it keeps from append to append, so that appending allocates
// nothing. A slot whose acknowledgement did not come in time gets a new one: the
// old one may still come.
type acks struct {
	h      *History
	prefix string // ends with a dot
	came   chan *nats.Msg
	anew   chan struct{} // holds one notice: the connection was made anew
	stop   chan struct{}
	ended  chan struct{}

	mu     sync.Mutex
	sub    *nats.Subscription
	closed bool
	slots  []slot
	free   []int32
	// The appends under way from the oldest to the newest; since all wait equally
	// long they time out in this order.
	oldest, newest int32
	count          int
}

type slot struct {
	done       func(uint64, error)
	sent       time.Time
	reply      string
	shard      int32
	next, prev int32
}

const none = -1

func newAcks(h *History) (*acks, error) {
	a := &acks{
		h:      h,
		prefix: natsconn.NewInboxes(h.nc),
		// Answers that come too late find room beside those that are awaited.
		came:   make(chan *nats.Msg, h.config.MaxInFlight+1024),
		anew:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
		ended:  make(chan struct{}),
		oldest: none,
		newest: none,
	}
	if err := a.move(h.nc); err != nil {
		return nil, err
	}
	go a.run()
	return a, nil
}

// move subscribes on a connection, in place of the one that ended if there was one.
func (a *acks) move(nc *nats.Conn) error {
	sub, err := nc.ChanSubscribe(a.prefix+"*", a.came)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sub = sub
	return nil
}

func (a *acks) close() {
	a.mu.Lock()
	_ = a.sub.Unsubscribe()
	a.mu.Unlock()
	close(a.stop)
	<-a.ended
}

func (a *acks) inFlight() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count
}

// reserve takes a slot for an append. The clock is read under the lock, so that
// the list is in the order of time.
func (a *acks) reserve(shard int, done func(uint64, error)) (index int32, reply string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return 0, "", ErrClosed
	}
	switch n := len(a.free); {
	case n > 0:
		index = a.free[n-1]
		a.free = a.free[:n-1]
	case len(a.slots) < a.h.config.MaxInFlight:
		index = int32(len(a.slots))
		a.slots = append(a.slots, slot{})
	default:
		return 0, "", ErrBusy
	}
	p := &a.slots[index]
	if p.reply == "" {
		reply := strconv.AppendInt([]byte(a.prefix), int64(index), 10)
		p.reply = string(natsconn.AppendToken(append(reply, '-')))
	}
	p.done, p.sent, p.shard = done, time.Now(), int32(shard)
	p.prev, p.next = a.newest, none
	if a.newest == none {
		a.oldest = index
	} else {
		a.slots[a.newest].next = index
	}
	a.newest = index
	a.count++
	return index, p.reply, nil
}

// releaseLocked frees a slot and returns what it was for.
func (a *acks) releaseLocked(index int32) slot {
	p := &a.slots[index]
	was := *p
	if p.prev == none {
		a.oldest = p.next
	} else {
		a.slots[p.prev].next = p.next
	}
	if p.next == none {
		a.newest = p.prev
	} else {
		a.slots[p.next].prev = p.prev
	}
	p.done = nil
	a.free = append(a.free, index)
	a.count--
	return was
}

// cancel gives a slot back whose publish failed; false if its time was up
// already.
func (a *acks) cancel(index int32, reply string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := &a.slots[index]
	if p.done == nil || p.reply != reply {
		return false
	}
	a.releaseLocked(index)
	return true
}

// claim finds the append that an answer is for.
func (a *acks) claim(reply string) (was slot, ok bool) {
	index := 0
	for i := len(a.prefix); i < len(reply) && reply[i] != '-'; i++ {
		index = index*10 + int(reply[i]-'0')
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if index >= len(a.slots) {
		return slot{}, false
	}
	if p := &a.slots[index]; p.done == nil || p.reply != reply {
		return slot{}, false
	}
	return a.releaseLocked(int32(index)), true
}

// run calls the done functions, all of them.
func (a *acks) run() {
	defer close(a.ended)
	tick := time.NewTicker(max(a.h.config.AckWait/16, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case m := <-a.came:
			a.answer(m)
		case now := <-tick.C:
			a.expire(now.Add(-a.h.config.AckWait), fmt.Errorf("%w: no acknowledgement within %v", ErrUnavailable, a.h.config.AckWait))
		case <-a.anew:
			// The acknowledgements went to the connection that is gone.
			a.expire(time.Now(), fmt.Errorf("%w: the connection was lost", ErrUnavailable))
		case <-a.h.pace.turn:
			a.h.pace.advance()
		case <-a.stop:
			a.mu.Lock()
			a.closed = true
			a.mu.Unlock()
			a.h.pace.close()
			a.expire(time.Now().Add(time.Hour), ErrClosed)
			return
		}
	}
}

func (a *acks) answer(m *nats.Msg) {
	p, ok := a.claim(m.Subject)
	if !ok {
		return
	}
	seq, err := parseAck(m)
	if err != nil {
		a.h.check.suspect(int(p.shard))
		p.done(0, err)
		return
	}
	if a.h.config.Observe != nil {
		a.h.config.Observe(time.Since(p.sent))
	}
	a.h.check.stored(int(p.shard), seq)
	p.done(seq, nil)
}

// reconnected ends the appends that were published on the connection before.
func (a *acks) reconnected() {
	select {
	case a.anew <- struct{}{}:
	default:
	}
}

// expire ends the appends that were published before a time.
func (a *acks) expire(before time.Time, reason error) {
	for {
		a.mu.Lock()
		index := a.oldest
		if index == none || a.slots[index].sent.After(before) {
			a.mu.Unlock()
			return
		}
		p := a.releaseLocked(index)
		a.slots[index].reply = ""
		a.mu.Unlock()
		a.h.check.suspect(int(p.shard))
		p.done(0, reason)
	}
}

// parseAck reads a PubAck, {"stream":"wsnode-history-0","seq":17}, without
// reflection; whatever looks different is decoded as JSON.
func parseAck(m *nats.Msg) (seq uint64, err error) {
	if m.Header.Get("Status") == "503" {
		return 0, fmt.Errorf("%w: no stream takes the subject", ErrUnavailable)
	}
	if at := bytes.Index(m.Data, []byte(`"seq":`)); at >= 0 && !bytes.Contains(m.Data, []byte(`"error"`)) {
		for _, c := range m.Data[at+len(`"seq":`):] {
			if c < '0' || c > '9' {
				break
			}
			seq = seq*10 + uint64(c-'0')
		}
		if seq > 0 {
			return seq, nil
		}
	}
	var ack struct {
		Seq   uint64
		Error *jetstream.APIError
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return 0, fmt.Errorf("read acknowledgement: %w", err)
	}
	if ack.Error != nil {
		return 0, typed(ack.Error)
	}
	if ack.Seq == 0 {
		return 0, errors.New("acknowledgement without a sequence")
	}
	return ack.Seq, nil
}
