// Package kvtest holds stores to the contract of package kv: one suite for all
// implementations, and a bucket in memory with links that fail as told.
package kvtest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wsnode/wsnode/kvpin/kv"
)

// Bucket is a bucket in memory, with keys that expire by the test's clock. All methods
// may be called concurrently.
type Bucket struct {
	mu       sync.Mutex
	last     uint64
	keys     map[string]*stored
	watchers map[*watch]struct{}
	writes   map[string]int // by the first token of the key
}

// stored is a key; its bucket's mu guards it.
type stored struct {
	kv.Entry
	expiry *time.Timer // nil: it stays
}

// New makes an empty bucket. Stop ends the timers of its keys.
func New() *Bucket {
	return &Bucket{keys: make(map[string]*stored), watchers: make(map[*watch]struct{}), writes: make(map[string]int)}
}

// Get returns a key past all links.
func (b *Bucket) Get(key string) kv.Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.keys[key]; k != nil {
		return k.Entry
	}
	return kv.Entry{Key: key}
}

// Put writes a key past all links.
func (b *Bucket) Put(key string, value []byte, expect uint64, ttl time.Duration) (uint64, error) {
	return b.put(key, value, true, expect, ttl)
}

// put applies a write. present false writes a marker.
func (b *Bucket) put(key string, value []byte, present bool, expect uint64, ttl time.Duration) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var have uint64
	if k := b.keys[key]; k != nil {
		have = k.Revision
	}
	if have != expect {
		return 0, fmt.Errorf("%w: %s is at %d, expected %d", kv.ErrConflict, key, have, expect)
	}
	token, _, _ := strings.Cut(key, ".")
	b.writes[token]++
	return b.setLocked(key, value, present, ttl), nil
}

func (b *Bucket) setLocked(key string, value []byte, present bool, ttl time.Duration) uint64 {
	if k := b.keys[key]; k != nil && k.expiry != nil {
		k.expiry.Stop()
	}
	b.last++
	k := &stored{Entry: kv.Entry{Key: key, Value: slices.Clone(value), Revision: b.last, Present: present, Written: time.Now()}}
	b.keys[key] = k
	if ttl > 0 {
		k.expiry = time.AfterFunc(ttl, func() { b.expire(k) })
	}
	for w := range b.watchers {
		if w.wants(key) {
			w.changes <- k.Entry
		}
	}
	return b.last
}

// expire leaves a marker in place of a key, and nothing in place of a marker.
func (b *Bucket) expire(k *stored) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.keys[k.Key] != k {
		return
	}
	if k.Present {
		b.setLocked(k.Key, nil, false, kv.MarkerTTL)
	} else {
		delete(b.keys, k.Key)
	}
}

// Snapshot copies the keys, markers included, and the revision of the last write.
func (b *Bucket) Snapshot() (keys map[string]kv.Entry, last uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	keys = make(map[string]kv.Entry)
	for name, k := range b.keys {
		keys[name] = k.Entry
	}
	return keys, b.last
}

// Restore makes the bucket what a snapshot holds, as an operator does who restores it
// from a copy: revisions go back as well. ttl says what is left of a key's time; 0
// keeps it for ever.
func (b *Bucket) Restore(keys map[string]kv.Entry, last uint64, ttl func(key string) time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopLocked()
	b.last = last
	b.keys = make(map[string]*stored)
	for name, e := range keys {
		k := &stored{Entry: e}
		b.keys[name] = k
		if left := ttl(name); left > 0 {
			k.expiry = time.AfterFunc(left, func() { b.expire(k) })
		}
	}
	b.loseLocked()
}

// Revive puts keys back as a server does that was killed before it had synced: as they
// were written, and without an expiry.
func (b *Bucket) Revive(keys map[string]kv.Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, e := range keys {
		if k := b.keys[name]; k != nil && k.expiry != nil {
			k.expiry.Stop()
		}
		b.keys[name] = &stored{Entry: e}
	}
	b.loseLocked()
}

// loseLocked has all watches start over.
func (b *Bucket) loseLocked() {
	for w := range b.watchers {
		w.lose()
	}
}

// Written returns the number of writes to keys that begin with a token.
func (b *Bucket) Written(token string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.writes[token]
}

// Stop ends the timers of the keys.
func (b *Bucket) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopLocked()
}

func (b *Bucket) stopLocked() {
	for _, k := range b.keys {
		if k.expiry != nil {
			k.expiry.Stop()
		}
	}
}

// matches is NATS subject matching.
func matches(filter, key string) bool {
	f, k := strings.Split(filter, "."), strings.Split(key, ".")
	for i, token := range f {
		if token == ">" {
			return len(k) > i
		}
		if i >= len(k) || token != "*" && token != k[i] {
			return false
		}
	}
	return len(f) == len(k)
}
