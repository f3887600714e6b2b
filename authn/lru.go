package authn

import "container/list"

// lru is a bounded map that forgets what was used least recently. It is not safe
// for concurrent use.
type lru[K comparable, V any] struct {
	most  int
	order *list.List // of *entry[K, V], most recently used first
	items map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](most int) *lru[K, V] {
	return &lru[K, V]{most: most, order: list.New(), items: map[K]*list.Element{}}
}

func (l *lru[K, V]) get(key K) (value V, ok bool) {
	at, ok := l.items[key]
	if !ok {
		return value, false
	}
	l.order.MoveToFront(at)
	return at.Value.(*entry[K, V]).value, true
}

func (l *lru[K, V]) put(key K, value V) {
	if at, ok := l.items[key]; ok {
		at.Value.(*entry[K, V]).value = value
		l.order.MoveToFront(at)
		return
	}
	for len(l.items) >= l.most {
		last := l.order.Back()
		l.order.Remove(last)
		delete(l.items, last.Value.(*entry[K, V]).key)
	}
	l.items[key] = l.order.PushFront(&entry[K, V]{key, value})
}

func (l *lru[K, V]) remove(key K) {
	if at, ok := l.items[key]; ok {
		l.order.Remove(at)
		delete(l.items, key)
	}
}
