package quota

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// gossipEvery is how often a pod tells the others of its region what it counted.
// In that time an app may exceed its rate by what it does on the other pods.
const gossipEvery = 250 * time.Millisecond

// slots divide the sliding minute.
const (
	slots    = 60
	slotTime = time.Minute / slots
)

// Ops counts operations per minute and app over the pods of a region. Pods tell
// each other their increments; a lost message lets an app do a little more, never
// less. It is safe for concurrent use.
type Ops struct {
	publish func([]byte) error
	start   time.Time

	mu   sync.Mutex
	apps map[docid.AppID]*Meter
}

// NewOps makes the counters. publish sends bytes to the other pods of the
// region, not to this one; it must not block.
func NewOps(publish func([]byte) error) *Ops {
	return &Ops{publish: publish, start: time.Now(), apps: map[docid.AppID]*Meter{}}
}

// Meter counts the operations of one app. Sessions share it.
type Meter struct {
	app docid.AppID
	ops *Ops

	users int // guarded by ops.mu

	mu     sync.Mutex
	slot   int64        // the newest
	counts [slots]int32 // by slot
	total  int          // of counts
	fresh  int          // counted here and not told yet
}

// Open returns the app's meter. Each Open wants a Close.
func (o *Ops) Open(app docid.AppID) *Meter {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.meterLocked(app)
	m.users++
	return m
}

func (o *Ops) meterLocked(app docid.AppID) *Meter {
	m := o.apps[app]
	if m == nil {
		m = &Meter{app: app, ops: o}
		o.apps[app] = m
	}
	return m
}

// Close ends the use of a meter. What it counted stays in sight for its minute.
func (m *Meter) Close() {
	m.ops.mu.Lock()
	defer m.ops.mu.Unlock()
	m.users--
}

// Count counts one operation and reports whether it crossed the limit. Only
// sessions with a limit count: others cost nothing.
func (m *Meter) Count(limit int) (exceeded bool) {
	if limit <= 0 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addLocked(1)
	m.fresh++
	return m.total > limit
}

// Total is the number of operations in the last minute.
func (m *Meter) Total() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addLocked(0)
	return m.total
}

// addLocked adds to the slot of now, dropping those that went out of sight.
func (m *Meter) addLocked(n int) {
	now := int64(time.Since(m.ops.start) / slotTime)
	if now-m.slot >= slots {
		m.counts, m.total, m.slot = [slots]int32{}, 0, now
	}
	for m.slot < now {
		m.slot++
		m.total -= int(m.counts[m.slot%slots])
		m.counts[m.slot%slots] = 0
	}
	m.counts[now%slots] += int32(n)
	m.total += n
}

// Run tells the other pods what was counted here, when something was, until ctx
// ends. It also forgets apps that are idle.
func (o *Ops) Run(ctx context.Context) {
	tick := time.NewTicker(gossipEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, message := range o.collect() {
				// Undelivered increments are lost; so are those of a pod that dies.
				_ = o.publish(message)
			}
		}
	}
}

// Messages between pods begin with the version of their form. Records follow:
// license region, tenant and app, each with its length before it, and the
// increment as a varuint.
const (
	opsVersion      = 1
	maxGossipLength = 64 << 10
)

// collect takes what was counted since the last time, in messages.
func (o *Ops) collect() [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	var messages [][]byte
	message := []byte{opsVersion}
	for app, m := range o.apps {
		m.mu.Lock()
		m.addLocked(0)
		n, idle := m.fresh, m.total == 0
		m.fresh = 0
		m.mu.Unlock()
		if idle && m.users == 0 {
			delete(o.apps, app)
		}
		if n == 0 {
			continue
		}
		message = appendOps(message, app, n)
		if len(message) > maxGossipLength {
			messages = append(messages, message)
			message = []byte{opsVersion}
		}
	}
	if len(message) > 1 {
		messages = append(messages, message)
	}
	return messages
}

func appendOps(b []byte, app docid.AppID, n int) []byte {
	for _, s := range []string{string(app.License), string(app.Tenant), string(app.App)} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return binary.AppendUvarint(b, uint64(n))
}

var errOps = errors.New("quota: not a message about operations")

// Receive takes in what another pod counted.
func (o *Ops) Receive(message []byte) error {
	if len(message) == 0 || message[0] != opsVersion {
		return errOps
	}
	for rest := message[1:]; len(rest) > 0; {
		var words [3]string
		for i := range words {
			length, n := binary.Uvarint(rest)
			if n <= 0 || length > uint64(len(rest)-n) {
				return errOps
			}
			words[i] = string(rest[n : n+int(length)])
			rest = rest[n+int(length):]
		}
		count, n := binary.Uvarint(rest)
		if n <= 0 || count > 1<<30 {
			return errOps
		}
		rest = rest[n:]
		o.add(docid.AppID{License: docid.LicenseRegion(words[0]), Tenant: docid.Tenant(words[1]), App: docid.App(words[2])}, int(count))
	}
	return nil
}

func (o *Ops) add(app docid.AppID, n int) {
	o.mu.Lock() // until it is added: a meter that has nothing yet would be forgotten
	defer o.mu.Unlock()
	m := o.meterLocked(app)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addLocked(n)
}
