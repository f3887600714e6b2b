package ratelimit

import "sync"

// Crowd counts who is somewhere at the same time, by key. The zero key, a client
// without an address, is not bounded. It is safe for concurrent use.
type Crowd[K comparable] struct {
	most int

	mu    sync.Mutex
	count map[K]int
}

// NewCrowd makes a crowd of at most so many of one key.
func NewCrowd[K comparable](most int) *Crowd[K] {
	return &Crowd[K]{most: most, count: map[K]int{}}
}

// Enter counts one more, and reports whether there was room; who was let in leaves.
func (c *Crowd[K]) Enter(key K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count[key] >= c.most && !isZero(key) {
		return false
	}
	c.count[key]++
	return true
}

// Leave takes one back that Enter counted.
func (c *Crowd[K]) Leave(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count[key]--; c.count[key] == 0 {
		delete(c.count, key)
	}
}

// Len is how many are in.
func (c *Crowd[K]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, count := range c.count {
		n += count
	}
	return n
}
